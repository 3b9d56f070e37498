import { defineConfig } from "vitest/config";

// The browser tests share one fleet and one browser, so they run one after another.
export default defineConfig({
  test: {
    include: ["e2e/**/*.test.ts"],
    environment: "node",
    fileParallelism: false,
    testTimeout: 30_000,
    hookTimeout: 60_000,
  },
});
