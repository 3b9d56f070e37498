import { defineConfig } from "vite";

// FALCON_API is where the development server finds the api.
const api = process.env["FALCON_API"] ?? "http://127.0.0.1:8080";

export default defineConfig({
  oxc: { jsx: { runtime: "automatic", importSource: "preact" } },
  build: {
    outDir: process.env["FALCON_DIST"] ?? "../dist",
    emptyOutDir: true,
    target: "es2022",
    modulePreload: { polyfill: false },
    assetsInlineLimit: 0, // the page's policy allows no data: scripts or styles
    reportCompressedSize: false,
  },
  server: { proxy: { "/api": { target: api } } },
});
