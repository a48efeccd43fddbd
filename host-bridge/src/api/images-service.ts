import { type Handlers, type ImagesService, toTimestamp, type zone } from "@zone/proto";
import type { Logger } from "pino";
import { bridgeError } from "../errors.js";
import type { Images, StoredImage } from "../images/image-store.js";
import type { ZoneTable } from "../zones/zone-table.js";
import { streamCall, unaryCall } from "./calls.js";

/** zone.bridge.v1.Images. */
export function imagesService(images: Images, zones: ZoneTable, log: Logger): Handlers<typeof ImagesService> {
  return {
    pull: streamCall(log, async ({ reference }, send, signal, sendProgress) => {
      const progress = (phase: string, message: string, done = 0, total = 0) =>
        sendProgress({ progress: { phase, message, done, total } });
      const image = await images.pull(reference, progress, signal, { policy: "always" });
      await send({ image: imageMessage(image) });
    }),
    list: unaryCall(log, async () => ({ images: (await images.list()).map(imageMessage) })),
    remove: unaryCall(log, async ({ image: wanted }) => {
      const image = await images.find(wanted);
      const user = image && zones.userOf(image.digest);
      if (user !== undefined) {
        const message = `zone ${user} uses image ${wanted.slice(0, 200)}: remove the zone first`;
        throw bridgeError("FAILED_PRECONDITION", "IMAGE_IN_USE", message, {
          type: "image",
          name: wanted.slice(0, 200),
        });
      }
      await images.remove(wanted);
      return {};
    }),
  };
}

function imageMessage(image: StoredImage): zone.bridge.v1.Image.$Properties {
  const { references, digest, sizeBytes, pulledAt, config } = image;
  return { references, digest, sizeBytes, pulledAt: toTimestamp(pulledAt), ...config };
}
