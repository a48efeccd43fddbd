import { openSync } from "node:fs";
import type * as grpc from "@grpc/grpc-js";
import { closeFd } from "@zone/native";
import type { FileService, Handlers, zone } from "@zone/proto";
import type { OpenRoot } from "../container/open-root.js";
import { O_PATH } from "../descriptors.js";
import { invalid } from "../errors.js";
import { streamHandler, unaryHandler, uploadHandler } from "../handlers.js";
import { writeFrom } from "../system/stream-writer.js";
import { copyIn } from "./copy-in.js";
import { copyOut } from "./copy-out.js";
import { O_DIRECTORY } from "./descriptors.js";
import { makeDirectories, makeDirectory, makeLink, move, setAttributes } from "./edit.js";
import { fileError } from "./file-error.js";
import { FILE_LIMITS } from "./limits.js";
import { readDirectory, statPath } from "./look.js";
import { endedWell, openUpload, sender } from "./messages.js";
import { checkPath, checkTarget } from "./path.js";
import { readFile } from "./read.js";
import { removePath } from "./remove.js";
import { checkAttributes, checkCopyIn, checkId, checkMode, checkSize, checkWrite } from "./requests.js";
import { FileWatch } from "./watch.js";
import { writeFile } from "./write.js";

/** What the service needs of the agent. */
export interface FileServiceEdges {
  /** The zone's own root: "/". */
  zoneRoot: string;
  /** A container's root; throws CONTAINER_UNKNOWN. */
  rootOf(containerId: string): OpenRoot;
  /** Throws when the zone takes no work yet. */
  admit(): void;
}

interface InContainer {
  containerId?: string | null;
}

type ReadCall = grpc.ServerWritableStream<zone.agent.v1.ReadRequest, zone.agent.v1.ReadResponse.$Properties>;
type CopyOutCall = grpc.ServerWritableStream<zone.agent.v1.CopyOutRequest, zone.agent.v1.CopyOutResponse.$Properties>;
type WatchCall = grpc.ServerWritableStream<zone.agent.v1.WatchFileRequest, zone.agent.v1.FileEvent.$Properties>;

/** zone.agent.v1.File. */
export function fileService(edges: FileServiceEdges): Handlers<typeof FileService> {
  const { admit } = edges;
  const openRoot = (containerId: string): OpenRoot => {
    if (containerId !== "") return edges.rootOf(containerId);
    const fd = openSync(edges.zoneRoot, O_PATH | O_DIRECTORY);
    return { fd, close: () => closeFd(fd) };
  };
  /** Works in the root that a request names; system calls that fail are errors about `path`. */
  const inRoot = async <T>(
    { containerId }: InContainer,
    path: string,
    work: (root: number) => T | Promise<T>,
  ): Promise<T> => {
    const root = openRoot(containerId ?? "");
    try {
      return await work(root.fd);
    } catch (error) {
      throw fileError(error, path);
    } finally {
      root.close();
    }
  };

  return {
    stat: unaryHandler(async (request) => {
      admit();
      const path = checkPath(request.path);
      return { file: await inRoot(request, path, (root) => statPath(root, path, request.follow ?? false)) };
    }),
    readDirectory: unaryHandler((request) => {
      admit();
      const path = checkPath(request.path);
      const limit = Math.min(request.limit || FILE_LIMITS.directoryPage, FILE_LIMITS.directoryPage);
      return inRoot(request, path, (root) => readDirectory(root, path, request.after ?? "", limit));
    }),
    read: streamHandler(async (call: ReadCall) => {
      admit();
      const { request } = call;
      const path = checkPath(request.path);
      const offset = checkSize(request.offset, "`offset`");
      const length = checkSize(request.length, "`length`") || undefined;
      const send = sender(call, (data) => ({ data }));
      await inRoot(request, path, (root) => readFile(root, path, offset, length, send));
    }),
    write: uploadHandler(async (call) => {
      admit();
      const { open, chunks } = await openUpload(call);
      const wish = checkWrite(open);
      return {
        writtenBytes: await inRoot(open, wish.path, (root) => writeFile(root, wish, chunks, () => endedWell(call))),
      };
    }),
    makeDirectory: unaryHandler(async (request) => {
      admit();
      const path = checkPath(request.path);
      const make = request.parents ? makeDirectories : makeDirectory;
      const ownership = {
        mode: checkMode(request.mode) || 0o755,
        uid: checkId(request.uid) ?? 0,
        gid: checkId(request.gid) ?? 0,
      };
      await inRoot(request, path, (root) => make(root, path, ownership));
      return {};
    }),
    makeLink: unaryHandler(async (request) => {
      admit();
      const path = checkPath(request.path);
      const hard = request.hard ?? false;
      const target = hard ? checkPath(request.target) : checkTarget(request.target);
      await inRoot(request, path, (root) => makeLink(root, path, target, hard));
      return {};
    }),
    remove: unaryHandler(async (request, cancelled) => {
      admit();
      const path = checkPath(request.path);
      const work = inRoot(request, path, (root) => removePath(root, path, request.recursive ?? false, cancelled));
      await work.catch((error: unknown) => {
        if (!request.force || fileError(error, path).reason !== "FILE_NOT_FOUND") throw error;
      });
      return {};
    }),
    move: unaryHandler(async (request) => {
      admit();
      const [from, to] = [checkPath(request.from), checkPath(request.to)];
      await inRoot(request, request.exclusive ? to : from, (root) => move(root, from, to, request.exclusive ?? false));
      return {};
    }),
    setAttributes: unaryHandler(async (request) => {
      admit();
      const path = checkPath(request.path);
      const attributes = checkAttributes(request);
      await inRoot(request, path, (root) => setAttributes(root, path, request.follow ?? false, attributes));
      return {};
    }),
    watch: streamHandler(async (call: WatchCall) => {
      admit();
      const path = checkPath(call.request.path);
      const watch = await inRoot(call.request, path, (root) => new FileWatch(root, path));
      try {
        await writeFrom(
          call,
          () => watch.next(),
          (wake) => {
            watch.wake = wake;
            return () => watch.close();
          },
        );
      } finally {
        watch.close();
      }
    }),
    copyIn: uploadHandler(async (call) => {
      admit();
      const { open, chunks } = await openUpload(call);
      const wish = checkCopyIn(open);
      const gone = new AbortController();
      call.once("cancelled", () => gone.abort());
      return inRoot(open, wish.path, (root) => copyIn(root, wish, chunks, gone.signal));
    }),
    copyOut: streamHandler(async (call: CopyOutCall) => {
      admit();
      const { path: wanted, follow, name } = call.request;
      const path = checkPath(wanted);
      if (Buffer.byteLength(name ?? "") > FILE_LIMITS.pathBytes) throw invalid("INVALID_PATH", "`name` is too long");
      const send = sender<zone.agent.v1.CopyOutResponse.$Properties>(call, (data) => ({ data }));
      await inRoot(call.request, path, (root) =>
        copyOut(
          root,
          { path, follow: follow ?? false, name: name ?? "" },
          (info) => void call.write({ root: info }),
          send,
        ),
      );
    }),
  };
}
