#!/usr/bin/env node
// An OCI runtime's command line whose containers are in a zone; see test/src/oci/runtime.ts.
import "../dist/oci/runtime.js";
