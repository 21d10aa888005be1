import { html, Heading } from './parts.js'; export const Usage = () => html`<${Heading} page='Usage'>Usage<//>`;
