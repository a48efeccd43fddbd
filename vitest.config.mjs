import { defineConfig } from "vitest/config";

const excluded = ["**/node_modules/**", "**/dist/**", "**/build/**"];

export default defineConfig({
  test: {
    projects: [
      {
        test: {
          name: "unit",
          include: ["*/src/**/*.test.ts", "proto/scripts/*.test.mjs"],
          exclude: [...excluded, "**/*.vm.test.ts"],
          testTimeout: 60_000,
          hookTimeout: 60_000,
        },
      },
      {
        // Boots zones: one file at a time, since each zone is an emulated machine that wants a core of its own.
        test: {
          name: "vm",
          include: ["*/src/**/*.vm.test.ts"],
          exclude: excluded,
          fileParallelism: false,
          testTimeout: 300_000,
          hookTimeout: 300_000,
        },
      },
    ],
  },
});
