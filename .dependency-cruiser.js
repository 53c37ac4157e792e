// The rooms of src/ and which way their imports go: down only, types included. `npm run lint` fails on anything else.
//
//   index, testing
//   ops      engine
//   backend/wasm   backend/webgpu      siblings: neither knows the other, nor an operation
//   calls
//   tensor
//   errors

/** What each room may import, itself and everything outside src/ aside. */
const BELOW = {
  errors: [],
  tensor: ["errors"],
  calls: ["errors", "tensor"],
  "backend/wasm": ["errors", "tensor", "calls"],
  "backend/webgpu": ["errors", "tensor", "calls"],
  ops: ["errors", "tensor", "calls", "backend/wasm"],
  engine: ["errors", "tensor", "calls", "backend/wasm", "backend/webgpu", "ops"],
  testing: ["errors", "tensor", "calls", "backend/wasm", "ops"],
};

/** @type {import("dependency-cruiser").IConfiguration} */
export default {
  forbidden: [
    { name: "no-cycle", severity: "error", from: { path: "^src/" }, to: { circular: true } },
    ...Object.entries(BELOW).map(([room, below]) => ({
      name: `${room.replace("/", "-")}-imports-down`,
      severity: "error",
      from: { path: `^src/${room}/` },
      to: { path: "^src/", pathNot: [room, ...below].map((name) => `^src/${name}/`) },
    })),
  ],
  options: {
    tsPreCompilationDeps: true,
    tsConfig: { fileName: "tsconfig.json" },
    includeOnly: "^src/",
    doNotFollow: { path: "node_modules" },
  },
};
