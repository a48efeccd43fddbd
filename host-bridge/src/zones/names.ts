const FIRST = (
  "amber brave brisk calm clear clever crisp eager early fair fleet fond gentle glad golden keen kind lively lucid mellow " +
  "merry mild nimble noble patient plain proud quick quiet ready royal rural sage sharp silver sleek smart solid steady " +
  "still sunny swift tidy trusty vivid warm witty young"
).split(" ");
const SECOND = (
  "acorn alder arbor aspen badger beacon birch brook canyon cedar cliff clover comet coral crane delta ember falcon fern " +
  "finch fjord forest garnet grove harbor hazel heron island jasper lagoon larch maple marsh meadow otter pebble pine " +
  "quartz raven reef ridge river robin sparrow summit thicket tundra willow"
).split(" ");

/** The names that may be given: zones.proto, ZoneSpec.name. */
export const NAME_PATTERN = /^[a-zA-Z0-9][a-zA-Z0-9_.-]{0,62}$/;

/** Two words that are not in use; a number is added when `pick` (a random integer below its argument) finds none. */
export function chooseName(inUse: (name: string) => boolean, pick: (below: number) => number): string {
  const word = (words: readonly string[]) => words[pick(words.length)] ?? "zone";
  for (let tries = 0; tries < 8; tries++) {
    const name = `${word(FIRST)}-${word(SECOND)}`;
    if (!inUse(name)) return name;
  }
  const base = `${word(FIRST)}-${word(SECOND)}`;
  for (let suffix = 2; ; suffix++) {
    if (!inUse(`${base}-${suffix}`)) return `${base}-${suffix}`;
  }
}

/**
 * Finds what `wanted` names among `entries`: an exact id, an exact name, or a unique prefix of an id, in this order.
 * "ambiguous" when a prefix fits several.
 */
export function lookUp<T extends { id: string; name: string }>(
  entries: Iterable<T>,
  wanted: string,
): T | "ambiguous" | undefined {
  let byName: T | undefined;
  const byPrefix: T[] = [];
  for (const entry of entries) {
    if (entry.id === wanted) return entry;
    if (entry.name === wanted) byName = entry;
    else if (wanted !== "" && entry.id.startsWith(wanted)) byPrefix.push(entry);
  }
  if (byName) return byName;
  return byPrefix.length > 1 ? "ambiguous" : byPrefix[0];
}
