import { spawn } from "node:child_process";
import { lstatSync, readlinkSync, statSync } from "node:fs";
import { basename, join } from "node:path";
import * as grpc from "@grpc/grpc-js";
import { FileService, type Handlers, unimplemented, ZoneError } from "@zone/proto";
import { agent } from "../messages.js";

type CopyOutCall = grpc.ServerWritableStream<agent.CopyOutRequest, agent.CopyOutResponse.$Properties>;

/**
 * Stands in for a zone's File service in tests of `zonectl cp`: GNU tar in a folder of this host. That the real one keeps its
 * promises is shown by the agent's tests.
 */
export class TestFiles {
  /** What CopyIn was opened with. */
  readonly opened: agent.CopyInOpen[] = [];
  /** Zones that were named. */
  readonly zones = new Set<string>();
  /** Sent by CopyOut instead of what is there. */
  archive: Buffer | undefined;
  private readonly server = new grpc.Server();

  constructor(
    readonly root: string,
    readonly socket: string,
  ) {}

  async listen(): Promise<void> {
    const handlers: Handlers<typeof FileService> = {
      ...unimplemented(FileService),
      stat: (call, callback) => {
        this.zones.add(String(call.metadata.get("zone-id")[0]));
        try {
          callback(null, { file: this.info(call.request.path, call.request.follow) });
        } catch (error) {
          callback(missing(error).toStatus());
        }
      },
      copyIn: (call, callback) => void this.copyIn(call, callback),
      copyOut: (call: CopyOutCall) => void this.copyOut(call),
    };
    this.server.addService(FileService as never, handlers as never);
    await new Promise<void>((resolve, reject) => {
      const done = (error: Error | null) => (error ? reject(error) : resolve());
      this.server.bindAsync(`unix:${this.socket}`, grpc.ServerCredentials.createInsecure(), done);
    });
  }

  close(): void {
    this.server.forceShutdown();
  }

  private info(path: string, follow: boolean): agent.FileInfo.$Properties {
    const at = join(this.root, path);
    const stat = follow ? statSync(at) : lstatSync(at);
    const { FileType } = agent;
    const type = stat.isDirectory()
      ? FileType.FILE_TYPE_DIRECTORY
      : stat.isSymbolicLink()
        ? FileType.FILE_TYPE_SYMLINK
        : FileType.FILE_TYPE_REGULAR;
    return { name: basename(path), type, ...(stat.isSymbolicLink() && { linkTarget: readlinkSync(at) }) };
  }

  private async copyIn(
    call: grpc.ServerReadableStream<agent.CopyInRequest, agent.CopyInResponse.$Properties>,
    callback: grpc.sendUnaryData<agent.CopyInResponse.$Properties>,
  ): Promise<void> {
    const messages = (call as AsyncIterable<agent.CopyInRequest>)[Symbol.asyncIterator]();
    const open = (await messages.next()).value?.open as agent.CopyInOpen;
    this.opened.push(open);
    const tar = spawn("tar", ["-xpf", "-", "-C", join(this.root, open.path)], { stdio: ["pipe", "ignore", "ignore"] });
    tar.stdin.on("error", () => {});
    const ended = new Promise<number | null>((resolve) => tar.once("close", resolve));
    for (let next = await messages.next(); !next.done; next = await messages.next()) tar.stdin.write(next.value.data);
    tar.stdin.end();
    if ((await ended) === 0) callback(null, { entries: 1, bytes: 1 });
    else callback(missing(new Error("tar failed")).toStatus());
  }

  private async copyOut(call: CopyOutCall): Promise<void> {
    const { path, follow, name } = call.request;
    try {
      call.write({ root: this.info(path, follow) });
    } catch (error) {
      call.emit("error", missing(error).toStatus());
      return;
    }
    if (this.archive) {
      call.write({ data: this.archive });
      call.end();
      return;
    }
    const [last, to] = [basename(path), name || basename(path)];
    const flags = follow ? ["-h"] : [];
    const source = to === "." ? ["-C", join(this.root, path), "."] : ["-C", join(this.root, path, ".."), last];
    const tar = spawn("tar", ["-cf", "-", ...flags, `--transform=flags=r;s,^${last},${to},`, ...source]);
    for await (const data of tar.stdout) call.write({ data });
    call.end();
  }
}

function missing(error: unknown): ZoneError {
  const message = error instanceof Error ? error.message : String(error);
  return new ZoneError({ code: "NOT_FOUND", reason: "FILE_NOT_FOUND", domain: "zone.agent", message });
}
