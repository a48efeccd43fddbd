import { connectBridge } from "./bridge/connect.js";
import type { NameSource } from "./complete.js";

const TIMEOUT_MS = 2_000;

/** Names of zones, volumes and images from a bridge that runs; none when it does not. */
export function namesFrom(path: string): NameSource {
  const client = connectBridge(path);
  return {
    zones: async () => {
      const { zones } = await client.zones.list({ all: true }, { timeoutMs: TIMEOUT_MS }).catch(() => ({ zones: [] }));
      return zones.flatMap((zone) => zone.spec?.name ?? []);
    },
    volumes: async () => {
      const { volumes } = await client.volumes.list({}, { timeoutMs: TIMEOUT_MS }).catch(() => ({ volumes: [] }));
      return volumes.flatMap((volume) => volume.name ?? []);
    },
    images: async () => {
      const { images } = await client.images.list({}, { timeoutMs: TIMEOUT_MS }).catch(() => ({ images: [] }));
      return ["busybox", ...images.flatMap((image) => image.references ?? [])].filter(
        (name, i, all) => all.indexOf(name) === i,
      );
    },
  };
}
