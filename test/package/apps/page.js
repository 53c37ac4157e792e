// A page: everything in the page itself, and everything again in a worker of its own. With "?gpu" the page itself also computes on the GPU.
import { everything } from "./everything.js";
import { post } from "./post.js";

// Served beside the page as it is in the package; a bundler is not to look into it.
const workerUrl = new URL("onepass-worker.js", document.baseURI).href;

function inWorker() {
  const worker = new Worker(new URL("./page-worker.js", import.meta.url), { type: "module" });
  worker.postMessage({ workerUrl });
  return new Promise((resolve, reject) => {
    worker.onmessage = ({ data }) => resolve(data);
    worker.onerror = ({ message }) => reject(new Error(`worker: ${message ?? "did not load"}`));
  }).finally(() => worker.terminate());
}

post(async () => ({ ...(await everything({ workerUrl, gpu: location.search === "?gpu" })), worker: await inWorker() }));
