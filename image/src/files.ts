import { createHash } from "node:crypto";
import { access, readFile } from "node:fs/promises";

/** In lower-case hexadecimal. */
export function sha256(bytes: Uint8Array | string): string {
  return createHash("sha256").update(bytes).digest("hex");
}

/** Of a file's content. */
export async function sha256OfFile(path: string): Promise<string> {
  return sha256(await readFile(path));
}

/** Whether something is at `path`. Throws when that cannot be told. */
export async function exists(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    (error: NodeJS.ErrnoException) => {
      if (error.code === "ENOENT") return false;
      throw error;
    },
  );
}
