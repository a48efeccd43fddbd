import { isAbsolute, normalize } from "node:path";
import { imageError } from "./image-error.js";

/** A name of an image, understood. */
export interface ImageReference {
  /** As given. */
  asked: string;
  /** The same for all spellings of the same thing: "alpine" and "docker://docker.io/library/alpine:latest". */
  key: string;
  source: ImageSource;
}

export type ImageSource =
  | { kind: "builtin" }
  /** `plainHttp`: the registry is on this host, where http is tried too. */
  | { kind: "registry"; address: string; host: string; plainHttp: boolean }
  | { kind: "local"; transport: "oci" | "oci-archive" | "docker-archive"; path: string; image: string };

const BUILTIN = "busybox";
const LOCAL = /^(oci|oci-archive|docker-archive):(.*)$/s;
const OTHER_TRANSPORT = /^(?:[a-z][a-z0-9+.-]*:\/\/|(?:dir|docker-daemon|containers-storage|ostree|sif|tarball):)/i;

/* As in github.com/distribution/reference. None of these can match in more than one way, so they take linear time. */
const DOMAIN = /^(?:(?!-)[A-Za-z0-9-]+(?<!-)(?:\.(?!-)[A-Za-z0-9-]+(?<!-))*|\[[0-9a-fA-F:]+\])(?::[0-9]{1,5})?$/;
const PATH = /^[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:\/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*$/;
const TAG = /^\w[\w.-]{0,127}$/;
const DIGEST = /^(?:sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128})$/;
const LOOPBACK = /^(?:localhost|127(?:\.[0-9]{1,3}){3}|\[::1\])(?::[0-9]+)?$/;
const MAX_NAME = 255;
const MAX_REFERENCE = 4500;

/**
 * Understands `docker://NAME`, NAME (a registry's, as Docker reads it), `oci:PATH[:TAG]`, `oci-archive:PATH[:TAG]`,
 * `docker-archive:PATH[:NAME]` with absolute paths, and "busybox", which is built in. Throws INVALID_IMAGE for all else.
 */
export function parseReference(asked: string): ImageReference {
  const invalid = (why: string) => imageError("INVALID_IMAGE", `not the name of an image: ${why}`);
  if (asked === BUILTIN) return { asked, key: BUILTIN, source: { kind: "builtin" } };
  if (asked === "") throw invalid("it is empty");
  if (asked.length > MAX_REFERENCE) throw invalid("it is too long");
  if (/\p{Cc}/u.test(asked)) throw invalid("it has a control character");
  const local = LOCAL.exec(asked);
  if (local) return parseLocal(asked, local[1] ?? "", local[2] ?? "", invalid);
  const name = asked.startsWith("docker://") ? asked.slice("docker://".length) : asked;
  if (OTHER_TRANSPORT.test(name))
    throw invalid("images come from docker://, oci:, oci-archive: and docker-archive: only");
  return parseRegistry(asked, name, invalid);
}

type Invalid = (why: string) => Error;

function parseLocal(asked: string, transport: string, rest: string, invalid: Invalid): ImageReference {
  const colon = rest.indexOf(":");
  const path = colon < 0 ? rest : rest.slice(0, colon);
  const image = colon < 0 ? "" : rest.slice(colon + 1);
  if (!isAbsolute(path)) throw invalid("the path after the colon must be absolute");
  if (transport !== "oci" && transport !== "oci-archive" && transport !== "docker-archive")
    throw invalid("unknown transport");
  const source = { kind: "local", transport, path: normalize(path), image } as const;
  return { asked, key: skopeoName(source), source };
}

function parseRegistry(asked: string, whole: string, invalid: Invalid): ImageReference {
  const at = whole.indexOf("@");
  const digest = at < 0 ? undefined : whole.slice(at + 1);
  if (digest !== undefined && !DIGEST.test(digest)) throw invalid("what follows the @ is not a digest");
  const tagged = at < 0 ? whole : whole.slice(0, at);
  const colon = tagged.lastIndexOf(":");
  const hasTag = colon > tagged.lastIndexOf("/");
  const tag = hasTag ? tagged.slice(colon + 1) : "latest";
  if (!TAG.test(tag)) throw invalid("its tag has characters that tags do not have");
  const name = hasTag ? tagged.slice(0, colon) : tagged;
  const slash = name.indexOf("/");
  const first = slash < 0 ? "" : name.slice(0, slash);
  const hasDomain = /[.:A-Z]/.test(first) || first === "localhost";
  const host = !hasDomain || first === "index.docker.io" ? "docker.io" : first;
  let path = hasDomain ? name.slice(slash + 1) : name;
  if (/[A-Z]/.test(path)) throw invalid("names of repositories are in lower case");
  if (!DOMAIN.test(host) || !PATH.test(path) || host.length + path.length > MAX_NAME) {
    throw invalid("it is not of the form [HOST[:PORT]/]NAME[:TAG][@DIGEST]");
  }
  if (host === "docker.io" && !path.includes("/")) path = `library/${path}`;
  // With a digest the tag says nothing, and skopeo takes only one of them.
  const address = `${host}/${path}${digest === undefined ? `:${tag}` : `@${digest}`}`;
  return { asked, key: address, source: { kind: "registry", address, host, plainHttp: LOOPBACK.test(host) } };
}

/** The name that skopeo has for a source. */
export function skopeoName(source: Exclude<ImageSource, { kind: "builtin" }>): string {
  if (source.kind === "registry") return `docker://${source.address}`;
  return `${source.transport}:${source.path}${source.image === "" ? "" : `:${source.image}`}`;
}
