// A request made of what a form holds, and what the model's JSON Schema says about it before the relay is asked.

const given = (value) => !(value === undefined || value === null || value === '' || value.length === 0);

// A default that is written out makes another request, so a value is sent only where it differs.
export function requestOf(model, draft) {
  const { properties } = model.request;
  const request = { model: model.id };
  const either = properties.images && properties.subjects;
  for (const [name, spec] of Object.entries(properties)) {
    if (name === 'model' || (either && ['images', 'subjects'].includes(name) && name !== draft.references)) continue;
    const value = readValue(name, spec, draft.values[name]);
    if (given(value) && value !== spec.default) request[name] = value;
  }
  return request;
}

function readValue(name, spec, value) {
  if (!given(value)) return undefined;
  if (name === 'images') return value.map((image) => image.uri);
  if (name === 'subjects') {
    return value.map(({ id, images, voice_id: voice }) => ({
      id, images: images.map((image) => image.uri), ...(voice && { voice_id: voice }),
    }));
  }
  if (name === 'labels') {
    const pairs = value.split('\n').filter((line) => line.trim()).map((line) => line.split(/=(.*)/s).slice(0, 2).map((part) => (part ?? '').trim()));
    return pairs.length ? Object.fromEntries(pairs.map(([label, text = '']) => [label, text])) : undefined;
  }
  if (spec.type === 'integer' && /^-?\d+$/.test(String(value).trim())) return Number(value);
  return value;
}

// Each fault as {loc, msg}, as the relay names places. Only what a form can break: the relay checks everything.
export function faultsOf(request, schema) {
  const faults = [];
  const say = (loc, msg) => faults.push({ loc, msg });
  schema.required.filter((name) => !(name in request)).forEach((name) => say(name, 'This is needed.'));
  for (const [name, value] of Object.entries(request)) {
    const spec = schema.properties[name];
    if (spec.type === 'integer' && !Number.isSafeInteger(value)) say(name, 'A whole number.');
    if (value < spec.minimum || value > spec.maximum) say(name, `From ${spec.minimum} to ${spec.maximum}.`);
    if (value.length > spec.maxLength) say(name, `At most ${spec.maxLength} characters; these are ${value.length}.`);
    if (spec.pattern && !new RegExp(spec.pattern, 'u').test(value)) say(name, spec.description ?? 'Not of the right form.');
  }
  (request.subjects ?? []).forEach((subject, at) => {
    if (!subject.id) say(`subjects.${at}`, 'The subject needs a name.');
    if (!subject.images.length) say(`subjects.${at}`, 'The subject needs an image.');
  });
  for (const rule of schema.allOf ?? []) {
    if (!fits(request, rule)) say('', rule.description ?? `One of: ${rule.oneOf.flatMap((one) => one.required).join(', ')}.`);
  }
  return faults;
}

// The words of JSON Schema that rules between parameters use.
function fits(request, schema) {
  const { allOf = [], oneOf, required = [], properties = {} } = schema;
  return required.every((name) => name in request)
    && Object.entries(properties).every(([name, spec]) => !(name in request) || spec.enum.includes(request[name]))
    && allOf.every((part) => fits(request, part))
    && (!oneOf || oneOf.filter((part) => fits(request, part)).length === 1)
    && (!schema.if || !fits(request, schema.if) || fits(request, schema.then));
}
