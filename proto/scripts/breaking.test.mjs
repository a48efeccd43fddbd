import { describe, expect, test } from "vitest";
import { breakingChanges } from "./breaking.mjs";

const message = (fields, more = {}) => ({ nested: { p: { nested: { M: { fields, ...more } } } } });
const a = { type: "string", id: 1 };

describe("breakingChanges", () => {
  test.each([
    ["nothing changed", message({ a }), message({ a }), []],
    ["a field is added", message({ a }), message({ a, b: { type: "bytes", id: 2 } }), []],
    ["a field is gone", message({ a }), message({}), ["p.M.a (1) is gone and its number not reserved"]],
    ["a field is gone and reserved", message({ a }), message({}, { reserved: [[1, 1]] }), []],
    ["a field is renamed", message({ a }), message({ b: a }), ["p.M.a (1) is now called b"]],
    ["a type changed", message({ a }), message({ a: { type: "bytes", id: 1 } }), ["p.M.a: type was string, is bytes"]],
    [
      "a field becomes repeated",
      message({ a }),
      message({ a: { ...a, rule: "repeated" } }),
      ["p.M.a: rule was undefined, is repeated"],
    ],
    [
      "a field moves into a oneof",
      message({ a }),
      message({ a }, { oneofs: { k: { oneof: ["a"] } } }),
      ["p.M.a moved into or out of a oneof"],
    ],
    ["a message is gone", message({ a }), { nested: { p: { nested: {} } } }, ["p.M is gone"]],
  ])("%s", (_, before, after, expected) => {
    expect(breakingChanges(before, after)).toEqual(expected);
  });

  test("enum values and methods", () => {
    const before = {
      nested: { E: { values: { X: 0, Y: 1 } }, S: { methods: { Do: { requestType: "A", responseType: "B" } } } },
    };
    const after = {
      nested: {
        E: { values: { X: 0, Y: 2 } },
        S: { methods: { Do: { requestType: "A", responseType: "B", responseStream: true } } },
      },
    };
    expect(breakingChanges(before, after)).toEqual([
      "E.Y = 1 is gone or renumbered",
      "S.Do: responseStream was undefined, is true",
    ]);
    expect(breakingChanges(before, { nested: { E: before.nested.E, S: { methods: {} } } })).toEqual(["S.Do is gone"]);
  });
});
