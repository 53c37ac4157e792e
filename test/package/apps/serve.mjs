// A server that renders: imports a bundle, given by its address, and says what importing it touched and what it rendered.
import { syncBuiltinESMExports } from "node:module";
import workers from "node:worker_threads";

const touched = [];
const trap = (target, name, value) => Object.defineProperty(target, name, { configurable: true, get: () => (touched.push(name), value) });

// What a browser has and a server lacks, what would compile or start something, and what would keep the process alive.
for (const name of ["document", "window", "self", "location", "localStorage", "Worker", "SharedWorker", "OffscreenCanvas", "GPU", "GPUBufferUsage"])
  trap(globalThis, name);
for (const name of ["navigator", "fetch", "setTimeout", "setInterval", "setImmediate", "queueMicrotask", "Blob"]) trap(globalThis, name, globalThis[name]);
for (const name of ["Module", "Instance", "Memory", "validate", "compile", "instantiate"]) trap(WebAssembly, name, WebAssembly[name]);
trap(URL, "createObjectURL", URL.createObjectURL);
// Importing node:worker_threads reads its names; only a worker that starts counts.
workers.Worker = new Proxy(workers.Worker, { construct: (target, args) => (touched.push("new Worker"), Reflect.construct(target, args)) });
syncBuiltinESMExports();
touched.length = 0;

const module = await import(process.argv[2]);
const atImport = [...touched];
const render = module.render ?? module.default.render;
const text = render();
console.log(JSON.stringify({ atImport, atCall: touched.length > 0, text }));
