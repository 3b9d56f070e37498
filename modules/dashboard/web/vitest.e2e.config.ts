import { defineConfig } from "vitest/config";

// The browser tests share one fleet and one browser, so they run one after another.
export default defineConfig({
  test: {
    // A browser on a busy machine now and then misses a key; what fails twice has found something.
    retry: 1,
    include: ["e2e/**/*.test.ts"],
    environment: "node",
    fileParallelism: false,
    testTimeout: 30_000,
    hookTimeout: 60_000,
  },
});
