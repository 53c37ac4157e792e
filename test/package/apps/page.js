// A page: everything in the page itself, and everything again in a worker of its own.
import { everything } from "./everything.js";
import { post } from "./post.js";

function inWorker() {
  const worker = new Worker(new URL("./page-worker.js", import.meta.url), { type: "module" });
  return new Promise((resolve, reject) => {
    worker.onmessage = ({ data }) => resolve(data);
    worker.onerror = ({ message }) => reject(new Error(`worker: ${message ?? "did not load"}`));
  }).finally(() => worker.terminate());
}

post(async () => ({ ...(await everything()), worker: await inWorker() }));
