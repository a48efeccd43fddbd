import { expect, test } from "vitest";
import { absoluteReference } from "./image-reference.js";

test.each([
  ["oci:layout:tag", "oci:/home/me/layout:tag"],
  ["oci-archive:../x.tar", "oci-archive:/home/x.tar"],
  ["docker-archive:/abs/x.tar:name:tag", "docker-archive:/abs/x.tar:name:tag"],
  ["docker://registry/oci:1", "docker://registry/oci:1"],
  ["debian:12", "debian:12"],
  ["oci:", "oci:"],
])("%s", (reference, expected) => expect(absoluteReference(reference, "/home/me")).toBe(expected));
