import { defineConfig } from "vite";

// No inline script or style and no data: module: the page's Content-Security-Policy has none of them.
export default defineConfig({
  base: "/",
  publicDir: false,
  build: {
    outDir: "../src/tapeflow/web",
    emptyOutDir: true,
    target: "es2022",
    assetsInlineLimit: 0,
    modulePreload: false,
    cssCodeSplit: false,
  },
  server: { proxy: { "/v1": { target: "http://127.0.0.1:8600", ws: true }, "/healthz": "http://127.0.0.1:8600" } },
});
