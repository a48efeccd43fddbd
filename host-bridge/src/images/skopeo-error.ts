import { type ImageReason, imageError, printable } from "./image-error.js";
import type { SkopeoSource } from "./skopeo.js";

/** What skopeo 1.x (containers/image) and registries say, first match first. */
const MEANINGS: { pattern: RegExp; reason: ImageReason; advice: string }[] = [
  { pattern: /no space left on device/i, reason: "DISK_FULL", advice: "free some space" },
  {
    pattern: /no image found in (?:manifest list|image index) for architecture|no matching manifest/i,
    reason: "IMAGE_UNKNOWN",
    advice: "the image is not made for this host's architecture",
  },
  {
    pattern:
      /manifest unknown|name unknown|repository name not known|not found: manifest|no descriptor found|tag .* not found/i,
    reason: "IMAGE_UNKNOWN",
    advice: "check the name and the tag",
  },
  {
    pattern:
      /unauthorized|authentication required|access to the resource is denied|\bdenied\b|403 \(Forbidden\)|401 \(Unauthorized\)/i,
    reason: "REGISTRY_DENIED",
    advice: "check the name, or log in with skopeo login",
  },
  { pattern: /does not match|did not match|digest mismatch/i, reason: "IMAGE_REFUSED", advice: "it is damaged" },
  {
    pattern: /invalid reference format|invalid source name|unsupported digest/i,
    reason: "INVALID_IMAGE",
    advice: "check the name",
  },
];

const LOCAL_UNKNOWN = /no such file or directory|not found/i;

/** The error that skopeo's stderr speaks of. What it quotes may come from a registry or an archive: it is shown as text only. */
export function skopeoError(stderr: string, source: SkopeoSource): Error {
  const said = lastMessage(stderr);
  const meaning = MEANINGS.find(({ pattern }) => pattern.test(said));
  if (meaning) return imageError(meaning.reason, `${said}; ${meaning.advice}`);
  if (source.kind === "registry") {
    if (/\b404\b|not found/i.test(said)) return imageError("IMAGE_UNKNOWN", `${said}; check the name and the tag`);
    return imageError("REGISTRY_UNREACHABLE", `${said}; check the network and the registry's name`);
  }
  if (LOCAL_UNKNOWN.test(said))
    return imageError("IMAGE_UNKNOWN", `${said}; check the path and the image's name in it`);
  return imageError("IMAGE_REFUSED", `${said}; it is broken or no image`);
}

/** The text of the last log line: `time="..." level=fatal msg="TEXT"`, with Go's quoting undone. */
function lastMessage(stderr: string): string {
  const line = stderr.trim().split("\n").at(-1) ?? "";
  const quoted = /\bmsg="((?:[^"\\]|\\.)*)"/.exec(line)?.[1];
  const text = quoted === undefined ? line : quoted.replace(/\\(["\\])/g, "$1");
  return printable(text).slice(0, 500) || "skopeo failed without a word";
}
