#!/usr/bin/env node
// The OCI's validation suite in a zone, and against the host's crun; writes docs/oci-validation.md. See test/src/oci/main.ts.
import "../dist/oci/main.js";
