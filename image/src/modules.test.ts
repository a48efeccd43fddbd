import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { BuildError } from "./errors.js";
import { BOOT_MODULES, LATER_MODULES } from "./module-list.js";
import { inLoadOrder, moduleName, parseDependencies } from "./modules.js";

const NONE: ReadonlySet<string> = new Set();

/** Modules m0, m1..., where each depends on some of those before it, as depmod writes it: all, what is loaded first last. */
const kernels = fc.array(fc.array(fc.nat(), { maxLength: 4 }), { minLength: 1, maxLength: 12 }).map((picks) => {
  const all: number[][] = [];
  for (const [index, pick] of picks.entries()) {
    const direct = index === 0 ? [] : [...new Set(pick.map((value) => value % index))];
    all.push([...new Set(direct.flatMap((one) => [one, ...(all[one] ?? [])]))].sort((a, b) => b - a));
  }
  return all;
});

const nameOf = (path: string): string => `kernel/${path}.ko`;

describe("inLoadOrder", () => {
  it("has every module once, after all that it depends on", () => {
    fc.assert(
      fc.property(kernels, fc.array(fc.nat(), { minLength: 1 }), (kernel, wishes) => {
        const lines = kernel.map(
          (needed, index) => `${nameOf(`m${index}`)}: ${needed.map((n) => nameOf(`m${n}`)).join(" ")}`,
        );
        const wanted = [...new Set(wishes.map((wish) => wish % kernel.length))].map((n) => ({
          name: `m${n}`,
          why: "test",
        }));
        const order = inLoadOrder(wanted, parseDependencies(lines.join("\n")), NONE).map(({ name }) => name);
        expect(new Set(order).size).toBe(order.length);
        expect(order).toEqual(expect.arrayContaining(wanted.map(({ name }) => name)));
        for (const [position, name] of order.entries())
          for (const needed of kernel[Number(name.slice(1))] ?? [])
            expect(order.indexOf(`m${needed}`), `m${needed} before ${name}`).toBeLessThan(position);
      }),
    );
  });

  const dependencies = parseDependencies(
    "kernel/fs/erofs/erofs.ko: kernel/lib/libcrc32c.ko\nkernel/lib/libcrc32c.ko:\nkernel/drivers/char/hw_random/virtio-rng.ko:\n",
  );

  it("says why a dependency is there", () => {
    expect(inLoadOrder([{ name: "erofs", why: "the disks" }], dependencies, NONE)).toEqual([
      { name: "libcrc32c", path: "kernel/lib/libcrc32c.ko", why: "erofs depends on it" },
      { name: "erofs", path: "kernel/fs/erofs/erofs.ko", why: "the disks" },
    ]);
  });

  it("finds a module whose file is spelled with a dash", () => {
    const [found] = inLoadOrder([{ name: "virtio_rng", why: "" }], dependencies, NONE);
    expect(found?.path).toBe("kernel/drivers/char/hw_random/virtio-rng.ko");
  });

  it("leaves out what is built in, and refuses what is nowhere", () => {
    const wanted = [{ name: "overlay", why: "layers" }];
    expect(inLoadOrder(wanted, dependencies, new Set(["overlay"]))).toEqual([]);
    expect(() => inLoadOrder(wanted, dependencies, NONE)).toThrow(BuildError);
  });
});

describe("the module lists", () => {
  it("name each module once, in the kernel's spelling, with a reason", () => {
    const all = [...BOOT_MODULES, ...LATER_MODULES];
    expect(new Set(all.map(({ name }) => name)).size).toBe(all.length);
    for (const { name, why } of all) {
      expect(moduleName(`${name}.ko`)).toBe(name);
      expect(why).not.toBe("");
    }
  });
});

describe("parseDependencies", () => {
  it("takes any text without throwing, and what depmod writes as it is meant", () => {
    fc.assert(fc.property(fc.string(), (text) => parseDependencies(text) instanceof Map));
    expect([...parseDependencies("a.ko: b.ko c.ko\nb.ko:\n\n# x\n")]).toEqual([
      ["a.ko", ["b.ko", "c.ko"]],
      ["b.ko", []],
    ]);
  });
});
