import js from "@eslint/js";
import { defineConfig, globalIgnores } from "eslint/config";
import tseslint from "typescript-eslint";

export default defineConfig(
  // AssemblyScript is not TypeScript (`@inline function`); the rest is written by programs.
  globalIgnores(["assembly/", "bench/machine/loops.ts", "dist/", "**/build/", "src/backend/wasm/generated/", "bench/results/", "bench/peers/node_modules/"]),
  { linterOptions: { reportUnusedDisableDirectives: "error" } },
  js.configs.recommended,
  tseslint.configs.strictTypeChecked,
  tseslint.configs.stylisticTypeChecked,
  {
    languageOptions: { parserOptions: { projectService: true, tsconfigRootDir: import.meta.dirname } },
    rules: {
      // Messages are full of sizes; `${String(rows)}` says nothing that `${rows}` does not.
      "@typescript-eslint/restrict-template-expressions": ["error", { allowNumber: true }],
      // `() => call()` is how a kernel call is bound to its arguments. Statements are still checked.
      "@typescript-eslint/no-confusing-void-expression": ["error", { ignoreArrowShorthand: true }],
      // `const { dropped: _, ...rest }` is how a property is left out.
      "@typescript-eslint/no-unused-vars": ["error", { ignoreRestSiblings: true }],
      // Its types redeclare globals (`Array.at` loses its `undefined`) for every file of the project.
      "no-restricted-imports": ["error", { paths: [{ name: "assemblyscript/asc", message: "Run assemblyscript/bin/asc.js as a program." }] }],
      // House style: names only.
      "no-restricted-syntax": ["error", { selector: "ExportDefaultDeclaration", message: "Export by name." }],
    },
  },
  {
    // The plain JavaScript that kernels are compared with has to stay plain: `?? 0` in its loops would slow it down.
    files: ["bench/contenders/javascript.ts"],
    rules: { "@typescript-eslint/no-non-null-assertion": "off" },
  },
  {
    // Configurations are read by tools that ask for a default export.
    files: ["*.config.{js,ts}", ".dependency-cruiser.js"],
    rules: { "no-restricted-syntax": "off" },
  },
  {
    // They run in browsers, workers and servers, by `import` and by `require`.
    files: ["test/package/apps/**"],
    rules: { "no-undef": "off", "@typescript-eslint/no-require-imports": "off" },
  },
  {
    // Next.js asks for default exports.
    files: ["test/package/apps/next/**"],
    rules: { "no-restricted-syntax": "off" },
  },
  {
    // Not part of the TypeScript project, so there are no types to check by.
    files: ["**/*.{js,mjs,cjs}"],
    extends: [tseslint.configs.disableTypeChecked],
    languageOptions: { parserOptions: { projectService: false }, globals: { WebAssembly: "readonly", console: "readonly", process: "readonly" } },
  },
);
