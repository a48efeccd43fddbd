import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type * as grpc from "@grpc/grpc-js";
import { type ClientStream, type FileService, type ServiceClient, ZoneError, type zone } from "@zone/proto";
import { onTestFinished } from "vitest";

type Files = ServiceClient<typeof FileService>;

/** A folder that is removed when the test is over. */
export function scratch(): string {
  const directory = mkdtempSync(join(tmpdir(), "zone-files-"));
  onTestFinished(() => rmSync(directory, { recursive: true, force: true }));
  return directory;
}

/** Sends `open` and then data in chunks; what the call is answered. */
export async function upload<Open, Response>(
  { requests, response }: ClientStream<{ open?: Open; data?: Uint8Array }, Response>,
  open: Open,
  data: Uint8Array,
  chunkBytes = 256 * 1024,
): Promise<Response> {
  const failed = response.then(
    () => {},
    () => {},
  );
  requests.on("error", () => {});
  requests.write({ open });
  for (let at = 0; at < data.length; at += chunkBytes) {
    if (!requests.write({ data: data.subarray(at, at + chunkBytes) })) {
      await Promise.race([once(requests, "drain"), failed]);
    }
  }
  requests.end();
  return response;
}

/** All messages of a stream; rejects with a ZoneError. */
export function collect<M>(stream: grpc.ClientReadableStream<M>): Promise<M[]> {
  return new Promise((resolve, reject) => {
    const messages: M[] = [];
    stream.on("data", (message: M) => messages.push(message));
    stream.on("error", (error) => reject(ZoneError.from(error)));
    stream.on("end", () => resolve(messages));
  });
}

/** A file's bytes, by Read. */
export async function readAll(files: Files, request: zone.agent.v1.ReadRequest.$Properties): Promise<Buffer> {
  return Buffer.concat((await collect(files.read(request))).map(({ data }) => data ?? new Uint8Array()));
}

/** Writes a file whole. */
export function writeAll(
  files: Files,
  open: zone.agent.v1.WriteOpen.$Properties,
  data: string | Uint8Array,
): Promise<zone.agent.v1.WriteResponse.$Properties> {
  return upload(files.write(), open, Buffer.from(data));
}

export function copyIn(
  files: Files,
  open: zone.agent.v1.CopyInOpen.$Properties,
  tar: Uint8Array,
  chunkBytes?: number,
): Promise<zone.agent.v1.CopyInResponse.$Properties> {
  return upload(files.copyIn(), open, tar, chunkBytes);
}

/** The archive that CopyOut gives, and what it says first. */
export async function copyOut(
  files: Files,
  request: zone.agent.v1.CopyOutRequest.$Properties,
): Promise<{ root: zone.agent.v1.FileInfo.$Properties | undefined; tar: Buffer }> {
  const [first, ...rest] = await collect(files.copyOut(request));
  return {
    root: first?.root ?? undefined,
    tar: Buffer.concat(rest.map(({ data }) => data ?? new Uint8Array())),
  };
}
