import { agent, type ClientStream, type zone } from "@zone/proto";
import { type Row, type SurfaceZone, works } from "../row.js";

type File = SurfaceZone["bridge"]["file"];
type WriteOpen = zone.agent.v1.WriteOpen.$Properties;
type CopyInOpen = zone.agent.v1.CopyInOpen.$Properties;

/** Where the cases of File make their files, in the container "main". */
export const FOLDER = "/case";

export const FileType = agent.FileType;

/** Makes FOLDER and removes it afterwards, whatever is in it by then. */
export async function withFolder(zone: SurfaceZone, use: () => Promise<void>): Promise<void> {
  const { file } = zone.bridge;
  await file.makeDirectory({ containerId: "main", path: FOLDER }, zone.in());
  try {
    await use();
  } finally {
    await file.remove({ containerId: "main", path: FOLDER, recursive: true }, zone.in());
  }
}

/** What such a case finds in FOLDER. The file's time is of whole seconds: its archive has no extended header. */
export async function tree(zone: SurfaceZone): Promise<void> {
  await zone.out(
    `cd ${FOLDER}; mkdir full; echo in > full/file; echo text > file; touch -d 2001-02-03 file; mkfifo fifo; ln -s file link; ln -s loop loop`,
  );
}

/** A case in FOLDER, filled by tree(). */
export function inTree(rpc: string, fields: string[], name: string, run: (zone: SurfaceZone) => Promise<void>): Row {
  return works(rpc, fields, name, (zone) =>
    withFolder(zone, async () => {
      await tree(zone);
      await run(zone);
    }),
  );
}

/** What is at a path of "main": a link itself, unless `follow`. */
export async function stat(zone: SurfaceZone, path: string, follow = false) {
  const { file } = await zone.bridge.file.stat({ containerId: "main", path, follow }, zone.in());
  return file ?? {};
}

/** Sends these messages and settles with the answer. */
export function send<Message, Answer>(call: ClientStream<Message, Answer>, ...messages: Message[]): Promise<Answer> {
  for (const message of messages) call.requests.write(message);
  call.requests.end();
  return call.response;
}

/** File.Write: `open`, in "main" unless it says otherwise, then the data in one message each; the bytes written. */
export async function write(zone: SurfaceZone, open: WriteOpen, ...data: (string | Uint8Array)[]) {
  const chunks = data.map((each) => ({ data: Buffer.from(each) }));
  const call = zone.bridge.file.write(zone.in());
  return (await send(call, { open: { containerId: "main", ...open } }, ...chunks)).writtenBytes;
}

/** File.CopyIn of an archive, in messages of 4 KiB. */
export function copyIn(zone: SurfaceZone, open: CopyInOpen, archive: Uint8Array) {
  const pieces = Array.from({ length: Math.ceil(archive.length / 4096) }, (_, index) => ({
    data: archive.subarray(index * 4096, (index + 1) * 4096),
  }));
  return send(zone.bridge.file.copyIn(zone.in()), { open: { containerId: "main", ...open } }, ...pieces);
}

/** A stream's messages to its end. */
export function collect<T>(call: AsyncIterable<T>): Promise<T[]> {
  return (async () => {
    const messages: T[] = [];
    for await (const message of call) messages.push(message);
    return messages;
  })();
}

/** File.Read, in "main" unless it says otherwise. */
export async function read(zone: SurfaceZone, request: Parameters<File["read"]>[0]): Promise<string> {
  const messages = await collect(zone.bridge.file.read({ containerId: "main", ...request }, zone.in()));
  return Buffer.concat(messages.map(({ data }) => data ?? Buffer.alloc(0))).toString();
}

/** File.CopyOut: what it says is copied, and the archive. */
export async function copyOut(zone: SurfaceZone, request: Parameters<File["copyOut"]>[0]) {
  const messages = await collect(zone.bridge.file.copyOut({ containerId: "main", ...request }, zone.in()));
  return {
    root: messages[0]?.root,
    archive: Buffer.concat(messages.slice(1).map(({ data }) => data ?? Buffer.alloc(0))),
  };
}

const NAME_BYTES = 100;
const TYPE_FLAG = 156;
const CHECKSUM = 148;

/** An archive whose first member, of a ustar header, has another name, and another type when that is given. */
export function forge(archive: Uint8Array, name: string, typeFlag?: string): Buffer {
  const forged = Buffer.from(archive);
  forged.fill(0, 0, NAME_BYTES).write(name, 0, NAME_BYTES, "latin1");
  if (typeFlag !== undefined) forged.write(typeFlag, TYPE_FLAG, "latin1");
  forged.fill(" ", CHECKSUM, CHECKSUM + 8);
  const sum = forged.subarray(0, 512).reduce((total, byte) => total + byte, 0);
  forged.write(`${sum.toString(8).padStart(6, "0")}\0 `, CHECKSUM, "latin1");
  return forged;
}
