import { linkError } from "./errors.js";

/** Where the bridge finds an agent. */
export type LinkAddress =
  | { readonly kind: "unix"; readonly path: string }
  | { readonly kind: "hvsock"; readonly path: string; readonly port: number }
  | { readonly kind: "vsock"; readonly cid: number; readonly port: number }
  | { readonly kind: "serial"; readonly path: string }
  | { readonly kind: "vchan"; readonly domid: number; readonly name: string };

/** Where an agent waits for the bridge. */
export type AgentAddress =
  | { readonly kind: "serial"; readonly port: string }
  | { readonly kind: "vsock"; readonly port: number }
  | { readonly kind: "unix"; readonly path: string };

/** Length of sockaddr_un.sun_path with its final NUL, unix(7). */
const UNIX_PATH_MAX = 108;
const U32_MAX = 0xffff_ffff;
/** Names of virtio ports and vchans end up in file and xenstore paths. */
const PORT_NAME = /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/;

/**
 * Parses a link URI of the host's side: `unix:PATH`, `hvsock:PATH:PORT`, `vsock:CID:PORT`, `serial:PATH`, `vchan:DOMID/NAME`.
 * Throws INVALID_ARGUMENT.
 */
export function parseLinkUri(uri: string): LinkAddress {
  const { scheme, rest } = split(uri);
  switch (scheme) {
    case "unix":
    case "serial":
      return { kind: scheme, path: path(uri, rest) };
    case "hvsock": {
      const colon = rest.lastIndexOf(":");
      if (colon < 0) throw invalid(uri, "it needs hvsock:PATH:PORT");
      return { kind: "hvsock", path: path(uri, rest.slice(0, colon)), port: u32(uri, "port", rest.slice(colon + 1)) };
    }
    case "vsock": {
      const [cid = "", port = "", ...more] = rest.split(":");
      if (more.length > 0) throw invalid(uri, "it needs vsock:CID:PORT");
      return { kind: "vsock", cid: u32(uri, "CID", cid), port: u32(uri, "port", port) };
    }
    case "vchan": {
      const slash = rest.indexOf("/");
      if (slash < 0) throw invalid(uri, "it needs vchan:DOMID/NAME");
      return {
        kind: "vchan",
        domid: u32(uri, "domain id", rest.slice(0, slash)),
        name: name(uri, rest.slice(slash + 1)),
      };
    }
    default:
      throw invalid(uri, `the scheme must be unix, hvsock, vsock, serial or vchan`);
  }
}

/** The URI of an address; parseLinkUri gives the address back. */
export function formatLinkUri(address: LinkAddress): string {
  switch (address.kind) {
    case "unix":
    case "serial":
      return `${address.kind}:${address.path}`;
    case "hvsock":
      return `hvsock:${address.path}:${address.port}`;
    case "vsock":
      return `vsock:${address.cid}:${address.port}`;
    case "vchan":
      return `vchan:${address.domid}/${address.name}`;
  }
}

/** Parses the agent's side, as `zone.link=` on the kernel command line has it: `serial:PORTNAME`, `vsock:PORT`, `unix:PATH`. */
export function parseAgentAddress(uri: string): AgentAddress {
  const { scheme, rest } = split(uri);
  switch (scheme) {
    case "serial":
      return { kind: "serial", port: name(uri, rest) };
    case "vsock":
      return { kind: "vsock", port: u32(uri, "port", rest) };
    case "unix":
      return { kind: "unix", path: path(uri, rest) };
    default:
      throw invalid(uri, "an agent's address must be serial:PORTNAME, vsock:PORT or unix:PATH");
  }
}

/** The text of an agent's address; parseAgentAddress gives it back. */
export function formatAgentAddress(address: AgentAddress): string {
  return address.kind === "unix" ? `unix:${address.path}` : `${address.kind}:${address.port}`;
}

function split(uri: string): { scheme: string; rest: string } {
  const colon = uri.indexOf(":");
  if (colon < 0) throw invalid(uri, "it has no scheme");
  return { scheme: uri.slice(0, colon), rest: uri.slice(colon + 1) };
}

function path(uri: string, text: string): string {
  if (!text.startsWith("/") || text.includes("\0")) throw invalid(uri, "the path must be absolute");
  if (Buffer.byteLength(text) >= UNIX_PATH_MAX)
    throw invalid(uri, `the path must have fewer than ${UNIX_PATH_MAX} bytes`);
  return text;
}

function name(uri: string, text: string): string {
  if (!PORT_NAME.test(text)) throw invalid(uri, `the name must match ${PORT_NAME.source}`);
  return text;
}

function u32(uri: string, what: string, text: string): number {
  const value = /^\d{1,10}$/.test(text) ? Number(text) : Number.NaN;
  if (!(value <= U32_MAX)) throw invalid(uri, `the ${what} must be a number from 0 to ${U32_MAX}`);
  return value;
}

function invalid(uri: string, why: string): Error {
  const shown = JSON.stringify(uri.length > 200 ? `${uri.slice(0, 200)}...` : uri);
  return linkError("INVALID_ARGUMENT", "LINK_URI_INVALID", `${shown} is not a link: ${why}`);
}
