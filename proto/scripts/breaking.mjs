/**
 * What in `after` would break a peer built from `before`: both are protobufjs JSON descriptors. The rules are protobuf's own
 * for the wire (https://protobuf.dev/programming-guides/proto3/#updating): nothing that was there may go or change its
 * number, type, repetition or place in a oneof; fields may go when their number is reserved.
 * @returns {string[]} one line per change
 */
export function breakingChanges(before, after, path = "") {
  return Object.entries(before.nested ?? {}).flatMap(([name, old]) => {
    const full = path ? `${path}.${name}` : name;
    const now = after.nested?.[name];
    if (now === undefined) return [`${full} is gone`];
    return [
      ...fields(old, now, full),
      ...values(old, now, full),
      ...methods(old, now, full),
      ...breakingChanges(old, now, full),
    ];
  });
}

function fields(old, now, full) {
  if (!old.fields) return [];
  if (!now.fields) return [`${full} is no longer a message`];
  const byId = new Map(Object.entries(now.fields).map(([name, field]) => [field.id, { name, ...field }]));
  return Object.entries(old.fields).flatMap(([name, field]) => {
    const found = byId.get(field.id);
    if (!found)
      return reserved(now, field.id) ? [] : [`${full}.${name} (${field.id}) is gone and its number not reserved`];
    const changes = [];
    if (found.name !== name) changes.push(`${full}.${name} (${field.id}) is now called ${found.name}`);
    for (const key of ["type", "rule", "keyType"]) {
      if (found[key] !== field[key]) changes.push(`${full}.${name}: ${key} was ${field[key]}, is ${found[key]}`);
    }
    if (oneofOf(old, name) !== oneofOf(now, found.name)) changes.push(`${full}.${name} moved into or out of a oneof`);
    return changes;
  });
}

function reserved(message, id) {
  return (message.reserved ?? []).some((range) => Array.isArray(range) && range[0] <= id && id <= range[1]);
}

function oneofOf(message, field) {
  return Object.entries(message.oneofs ?? {}).find(([, { oneof }]) => oneof.includes(field))?.[0];
}

function values(old, now, full) {
  if (!old.values) return [];
  return Object.entries(old.values)
    .filter(([name, number]) => now.values?.[name] !== number)
    .map(([name, number]) => `${full}.${name} = ${number} is gone or renumbered`);
}

function methods(old, now, full) {
  if (!old.methods) return [];
  return Object.entries(old.methods).flatMap(([name, method]) => {
    const found = now.methods?.[name];
    if (!found) return [`${full}.${name} is gone`];
    return ["requestType", "responseType", "requestStream", "responseStream"]
      .filter((key) => found[key] !== method[key])
      .map((key) => `${full}.${name}: ${key} was ${method[key]}, is ${found[key]}`);
  });
}
