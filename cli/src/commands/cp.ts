import { lstat, realpath, stat } from "node:fs/promises";
import { basename, resolve } from "node:path";
import type { ClientReadableStream } from "@grpc/grpc-js";
import { ZoneError } from "@zone/proto";
import { write } from "../attach/output.js";
import { type Bridge, inZone, openBridge, QUICK, zoneName } from "../bridge/connect.js";
import type { Context } from "../context.js";
import { pack } from "../copy/pack.js";
import { type CopyEnd, type Existing, parseCopyEnd, pathEnd, placeFor, splitName } from "../copy/place.js";
import { unpack } from "../copy/unpack.js";
import { CommandFailure } from "../errors.js";
import { agent } from "../messages.js";
import { UsageError } from "../parse/usage-error.js";
import { progressOn } from "../progress.js";
import { printable } from "../text/printable.js";
import { byteSize } from "../text/table.js";

/** The options of `zonectl cp`. */
export interface CpOptions {
  readonly archive?: boolean;
  readonly followLink?: boolean;
  readonly quiet?: boolean;
}

/** The container of a zone that `run` starts. */
const CONTAINER = "main";
/** Of one message; the agent takes no more. */
const CHUNK_BYTES = 256 * 1024;
const LINK_FOLLOWS = 40;

type ZoneEnd = Extract<CopyEnd, { kind: "zone" }>;
type HostEnd = Exclude<CopyEnd, { kind: "zone" }>;

/** `zonectl cp`: between this host and a zone's container, by docker's rules. */
export async function cp(context: Context, from: string, to: string, options: CpOptions): Promise<number> {
  const [source, destination] = [parseCopyEnd(from), parseCopyEnd(to)];
  const copied = new Copied(context, options.quiet ?? false);
  try {
    if (source.kind === "zone" && destination.kind !== "zone") {
      await fromZone(context, source, destination, options, copied);
    } else if (destination.kind === "zone" && source.kind !== "zone") {
      await toZone(context, source, destination, options, copied);
    } else if (source.kind === "zone") {
      throw new UsageError(
        "cannot copy from zone to zone: copy to this host first, or pipe `cp A:PATH -` to `cp - B:PATH`",
      );
    } else throw new UsageError("one of the two must be in a zone: ZONE:PATH");
  } finally {
    copied.done();
  }
  copied.tell(to);
  return 0;
}

/** Counts bytes, and shows them on a terminal. */
class Copied {
  #bytes = 0;
  readonly #display;

  constructor(
    readonly context: Context,
    readonly quiet: boolean,
  ) {
    this.#display = !quiet && context.stderr.isTTY ? progressOn(context.stderr) : undefined;
  }

  add(bytes: number): void {
    this.#bytes += bytes;
    this.#display?.update({ phase: "copy", message: `copying: ${byteSize(this.#bytes)}` });
  }

  done(): void {
    this.#display?.clear();
  }

  tell(to: string): void {
    if (this.#display) this.context.stderr.write(`copied ${byteSize(this.#bytes)} to ${printable(to)}\n`);
  }

  readonly leftOut = (name: string, why: string): void => {
    this.context.stderr.write(`zonectl: left out ${printable(name)}: ${why}\n`);
  };
}

async function toZone(
  context: Context,
  source: HostEnd,
  { zone, path }: ZoneEnd,
  options: CpOptions,
  copied: Copied,
): Promise<void> {
  zoneName(zone);
  if (source.kind === "stream") {
    if (context.stdin.isTTY) throw new UsageError("a tar stream is wanted on standard input, which is a terminal");
    const client = await openBridge(context);
    // An archive says itself whose its files are.
    await send(client, zone, { path, noReplaceTypes: true }, context.stdin as AsyncIterable<Buffer>, copied);
    return;
  }
  const info = await (options.followLink ? stat(source.path) : lstat(pathEnd(source.path).path)).catch(
    missing(source.path),
  );
  const end = pathEnd(source.path);
  // A link with a slash behind it is the directory that it leads to.
  const isDirectory = info.isDirectory() || (end.mustBeDirectory && (await stat(source.path)).isDirectory());
  if (end.mustBeDirectory && !isDirectory) throw new UsageError(`${source.path} is not a directory`);
  const client = await openBridge(context);
  const real = await resolveInZone(client, zone, path);
  const name = basename(resolve(end.path));
  const from = { shown: source.path, name, isDirectory, isContent: end.isContent || name === "" };
  const place = placeFor(from, real.path, real.there);
  const owner = options.archive ? {} : { uid: 0, gid: 0 };
  const follow = options.followLink || end.mustBeDirectory;
  const archive = pack(end.path, place.name, { follow: follow ?? false, leftOut: copied.leftOut });
  await send(client, zone, { path: place.directory, noReplaceTypes: true, ...owner }, archive, copied);
}

/** Sends an archive; rejects with what the zone answers, or what reading the archive threw. */
async function send(
  client: Bridge,
  zone: string,
  open: agent.CopyInOpen.$Properties,
  archive: AsyncIterable<Buffer>,
  copied: Copied,
): Promise<void> {
  const { requests, response } = client.file.copyIn(inZone(zone));
  let isOver = false;
  let wake = () => {};
  const over = () => {
    isOver = true;
    wake();
  };
  response.then(over, over);
  requests.on("error", () => {}); // `response` says why
  requests.on("drain", () => wake());
  const put = async (message: agent.CopyInRequest.$Properties) => {
    const drained = new Promise<void>((settle) => {
      wake = settle;
    });
    if (!requests.write(message) && !isOver) await drained;
  };
  try {
    await put({ open: { containerId: CONTAINER, ...open } });
    for await (const bytes of archive) {
      for (let at = 0; at < bytes.length && !isOver; at += CHUNK_BYTES) {
        await put({ data: bytes.subarray(at, at + CHUNK_BYTES) });
        copied.add(Math.min(CHUNK_BYTES, bytes.length - at));
      }
      if (isOver) break; // the zone has said no
    }
  } catch (error) {
    requests.cancel();
    await response.catch(() => {});
    throw error;
  }
  requests.end();
  await response;
}

async function fromZone(
  context: Context,
  { zone, path }: ZoneEnd,
  destination: HostEnd,
  options: CpOptions,
  copied: Copied,
): Promise<void> {
  zoneName(zone);
  const end = pathEnd(path);
  const slash = end.mustBeDirectory && end.path !== "/" ? "/" : "";
  const isStream = destination.kind === "stream";
  if (isStream && context.stdout.isTTY) throw new UsageError("a tar stream is not for a terminal: redirect it");
  const client = await openBridge(context);
  const call = client.file.copyOut(
    {
      containerId: CONTAINER,
      path: end.path + slash,
      follow: options.followLink ?? false,
      // What we unpack ourselves we know by this name; `unpack` takes it off again.
      name: isStream ? (end.isContent ? "." : "") : "x",
    },
    inZone(zone),
  );
  const messages = (call as AsyncIterable<agent.CopyOutResponse>)[Symbol.asyncIterator]();
  try {
    const root = (await next(messages))?.root ?? broken("does not say what it copies");
    const chunks = dataOf(messages, copied);
    if (isStream) {
      for await (const chunk of chunks) await write(context.stdout, chunk);
      return;
    }
    const isDirectory = root.type === agent.FileType.FILE_TYPE_DIRECTORY;
    const name = splitName(end.path).name;
    if (name === "..") throw new UsageError(`${path}: end the path with a name`);
    const there = await lookAt(destination.path);
    const target = there === "other" ? await realpath(destination.path) : destination.path;
    if (there === "other" && !(await stat(target)).isFile())
      throw new UsageError(`${destination.path} is a device, a FIFO or a socket: use - for a stream`);
    const source = { shown: `${zone}:${path}`, name, isDirectory, isContent: end.isContent || name === "" };
    const place = placeFor(source, target, there);
    if ((await lookAt(place.directory)) !== "directory")
      throw new UsageError(`there is no directory ${place.directory}`);
    await unpack(chunks, place, { archive: options.archive ?? false, leftOut: copied.leftOut });
  } finally {
    (call as ClientReadableStream<unknown>).cancel();
  }
}

async function* dataOf(messages: AsyncIterator<agent.CopyOutResponse>, copied: Copied): AsyncGenerator<Buffer> {
  for (let message = await next(messages); message !== undefined; message = await next(messages)) {
    const data = message.data ?? broken("sends something else than its archive");
    copied.add(data.length);
    yield Buffer.from(data.buffer, data.byteOffset, data.length);
  }
}

function broken(what: string): never {
  throw new CommandFailure(`the zone's agent ${what}`);
}

async function next<M>(messages: AsyncIterator<M>): Promise<M | undefined> {
  try {
    const { done, value } = await messages.next();
    return done ? undefined : value;
  } catch (error) {
    throw ZoneError.from(error);
  }
}

/** The path with links at its end followed, and what is there: a file behind a link is replaced, and not the link. */
async function resolveInZone(client: Bridge, zone: string, path: string): Promise<{ path: string; there: Existing }> {
  const look = async (at: string, follow: boolean) => {
    try {
      return (await client.file.stat({ containerId: CONTAINER, path: at, follow }, { ...inZone(zone), ...QUICK })).file;
    } catch (error) {
      const { reason } = ZoneError.from(error);
      if (reason === "FILE_NOT_FOUND") return undefined;
      throw error;
    }
  };
  const { FileType } = agent;
  let at = path;
  for (let follows = 0; follows < LINK_FOLLOWS; follows++) {
    const bare = pathEnd(at).path;
    const found = await look(bare, true);
    if (found?.type === FileType.FILE_TYPE_DIRECTORY) return { path: at, there: "directory" };
    const itself = await look(bare, false);
    if (itself?.type !== FileType.FILE_TYPE_SYMLINK) return { path: at, there: found ? "other" : undefined };
    const target = itself.linkTarget ?? "";
    const slash = pathEnd(at).mustBeDirectory ? "/" : "";
    at = (target.startsWith("/") ? target : `${splitName(bare).directory}/${target}`) + slash;
  }
  throw new CommandFailure(`too many links at ${path} in the zone`);
}

async function lookAt(path: string): Promise<Existing> {
  try {
    return (await stat(path)).isDirectory() ? "directory" : "other";
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === "ENOENT") return undefined;
    if (code === "ENOTDIR") throw new UsageError(`${path}: a part of it is not a directory`);
    throw error;
  }
}

function missing(path: string): (error: NodeJS.ErrnoException) => never {
  return (error) => {
    throw error.code === "ENOENT" ? new UsageError(`there is no ${path}`) : error;
  };
}
