import { describe, expect, it } from "vitest";
import { chooseName, lookUp, NAME_PATTERN } from "./names.js";

describe("chooseName", () => {
  it("chooses two words that are a valid name", () => {
    for (let n = 0; n < 48; n++)
      expect(
        chooseName(
          () => false,
          (below) => n % below,
        ),
      ).toMatch(NAME_PATTERN);
    expect(
      chooseName(
        () => false,
        () => 0,
      ),
    ).toBe("amber-acorn");
  });

  it("adds a number when the words are in use", () => {
    const taken = new Set(["amber-acorn", "amber-acorn-2"]);
    expect(
      chooseName(
        (name) => taken.has(name),
        () => 0,
      ),
    ).toBe("amber-acorn-3");
  });
});

describe("NAME_PATTERN", () => {
  it.each(["a", "web", "Web_1.x-y", "0", "a".repeat(63)])("takes %j", (name) => expect(name).toMatch(NAME_PATTERN));
  it.each(["", "-a", ".a", "a b", "a/b", "ä", "a\n", "a".repeat(64)])("refuses %j", (name) =>
    expect(name).not.toMatch(NAME_PATTERN),
  );
});

describe("lookUp", () => {
  const web = { id: `aa01${"0".repeat(28)}`, name: "web" };
  const db = { id: `aa02${"0".repeat(28)}`, name: "db" };
  const tricky = { id: `bb${"0".repeat(30)}`, name: "aa02" };
  const all = [web, db, tricky];

  it("finds by id, name and unique prefix", () => {
    expect(lookUp(all, web.id)).toBe(web);
    expect(lookUp(all, "db")).toBe(db);
    expect(lookUp(all, "aa01")).toBe(web);
    expect(lookUp(all, "b")).toBe(tricky);
  });

  it("prefers a name to a prefix, and an id to a name", () => {
    expect(lookUp(all, "aa02")).toBe(tricky);
    const named = { id: "c".repeat(32), name: web.id };
    expect(lookUp([named, web], web.id)).toBe(web);
  });

  it("says when a prefix is ambiguous, and when there is nothing", () => {
    expect(lookUp(all, "aa")).toBe("ambiguous");
    expect(lookUp(all, "")).toBeUndefined();
    expect(lookUp(all, "nope")).toBeUndefined();
  });
});
