import { expect, it } from "vitest";
import { NameMap } from "./name-map.js";

it("remembers no more names, and no more bytes of them, than it may", () => {
  const names = new NameMap<number>(3, 10);
  names.set("a", 1, "12345");
  names.set("b", 2, "123456");
  names.set("c", 3, "12345");
  names.set("d", 4, "1");
  names.set("a", 5, "12345");
  names.set("e", 6, "");
  names.set("f", 7, "");
  expect([...names]).toEqual([
    ["a", 5],
    ["c", 3],
    ["e", 6],
  ]);
  expect(names.get("b")).toBeUndefined();
});
