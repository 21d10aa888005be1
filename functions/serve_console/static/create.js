import { html, Heading } from './parts.js'; export const Create = () => html`<${Heading} page='Create'>Create<//>`;
