import { expect, it } from "vitest";
import { FileClaims } from "./file-claims.js";

const inUse = expect.objectContaining({ code: "FAILED_PRECONDITION", reason: "VOLUME_IN_USE" });

it("lets many read a file, or one write to it", () => {
  const claims = new FileClaims();
  claims.take("1:2", true, "/a");
  claims.take("1:2", true, "/a");
  expect(() => claims.take("1:2", false, "/a")).toThrow(inUse);
  claims.release("1:2", true);
  expect(() => claims.take("1:2", false, "/a")).toThrow(inUse);
  claims.release("1:2", true);
  claims.take("1:2", false, "/a");
  expect(() => claims.take("1:2", false, "/a")).toThrow(inUse);
  expect(() => claims.take("1:2", true, "/b")).toThrow(inUse);
  claims.take("1:3", false, "/c");
  claims.release("1:2", false);
  claims.take("1:2", true, "/a");
});
