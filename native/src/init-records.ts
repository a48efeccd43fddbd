import { fstatSync, readSync } from "node:fs";
import { closeFd } from "./descriptors.js";
import { type InitMessage, MAX_KEPT, RECORD_EXITED, RECORD_KEPT_SHIFT } from "./init-messages.js";
import type { Exit, InitRecord } from "./init-types.js";
import { decodeSpec } from "./spawn-spec.js";
import { MAX_SPEC_BYTES } from "./spawn-types.js";

/** A message with a status (ZI_EXITED, ZI_RECORD) as what happened; the bits are those of wait(2). */
export function exitOf(message: InitMessage): Exit {
  const signal = message.status & 0x7f;
  return {
    code: signal ? 0 : (message.status >> 8) & 0xff,
    signal,
    coreDumped: signal !== 0 && (message.status & 0x80) !== 0,
    timeMs: Number(message.timeNs / 1000n) / 1000,
  };
}

/** ZI_RECORD with its descriptors, which it takes over: the spec's is read and closed; all are closed when this throws. */
export function readRecord(message: InitMessage, fds: readonly number[]): InitRecord {
  const [specFd, ...keptFds] = fds;
  try {
    const flags = Array.from(
      { length: MAX_KEPT },
      (_, index) => (message.flags & (1 << (RECORD_KEPT_SHIFT + index))) !== 0,
    );
    if (specFd === undefined || keptFds.length !== flags.filter(Boolean).length) {
      throw new RangeError(
        `PID 1's record of process ${message.pid} has ${fds.length} descriptors, which its flags deny`,
      );
    }
    const spec = decodeSpec(readWhole(specFd));
    closeFd(specFd);
    let next = 0;
    const kept = flags.map((held) => (held ? keptFds[next++] : undefined));
    const { token, pid } = message;
    return { token, pid, spec, kept, ...(message.flags & RECORD_EXITED ? { exited: exitOf(message) } : {}) };
  } catch (error) {
    for (const fd of fds) closeFd(fd);
    throw error;
  }
}

/** By position: the descriptor is PID 1's open file too, whose offset is not ours to move. */
function readWhole(fd: number): Buffer {
  const { size } = fstatSync(fd);
  if (size > MAX_SPEC_BYTES) throw new RangeError(`a spec of ${size} bytes; ${MAX_SPEC_BYTES} are allowed`);
  const bytes = Buffer.alloc(size);
  for (let done = 0; done < size; ) {
    const length = readSync(fd, bytes, done, size - done, done);
    if (length === 0) throw new RangeError("the spec is shorter than it says");
    done += length;
  }
  return bytes;
}

export function closeKept(record: InitRecord): void {
  for (const fd of record.kept) if (fd !== undefined) closeFd(fd);
}
