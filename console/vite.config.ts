import { fileURLToPath } from "node:url";

import preact from "@preact/preset-vite";
import { defineConfig } from "vite";

export default defineConfig({
  base: "/console/",
  plugins: [preact()],
  resolve: {
    alias: {
      "leancloud-realtime": fileURLToPath(
        new URL("node_modules/leancloud-realtime/dist/realtime.browser.min.js", import.meta.url),
      ),
    },
  },
  build: {
    outDir: "../fastim/console",
    emptyOutDir: true,
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    rolldownOptions: { input: ["index.html", "try.html"] },
  },
});
