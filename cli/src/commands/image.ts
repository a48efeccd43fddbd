import { write } from "../attach/output.js";
import { openBridge } from "../bridge/connect.js";
import { finalMessage } from "../bridge/streams.js";
import type { Context } from "../context.js";
import { absoluteReference } from "../parse/image-reference.js";
import { progressOn } from "../progress.js";
import { forEachName } from "./each.js";

/** `zonectl image pull`: brings an image and prints its digest. */
export async function imagePull(context: Context, reference: string): Promise<number> {
  const client = await openBridge(context);
  const progress = progressOn(context.stderr);
  try {
    const image = await finalMessage(
      client.images.pull({ reference: absoluteReference(reference, process.cwd()) }),
      progress,
      (message) => message.image,
    );
    progress.clear();
    await write(context.stdout, `${image.digest}\n`);
  } finally {
    progress.clear();
  }
  return 0;
}

/** `zonectl image rm`. */
export async function imageRm(context: Context, names: string[]): Promise<number> {
  const client = await openBridge(context);
  const act = (image: string) => client.images.remove({ image }, { timeoutMs: 60_000 });
  return forEachName(context, names, act, (name) => write(context.stdout, `${name}\n`));
}
