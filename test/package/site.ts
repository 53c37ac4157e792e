// A server on this machine for pages that report back. The first part of a path says which headers it comes with.
import { readFile } from "node:fs/promises";
import { type IncomingMessage, type Server, type ServerResponse, createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { extname, join } from "node:path";

const ISOLATION = { "cross-origin-opener-policy": "same-origin", "cross-origin-embedder-policy": "require-corp" };
const STRICT = { "content-security-policy": "script-src 'self' 'wasm-unsafe-eval'" };

/** The headers of a page and of everything it loads. */
export const POLICIES = { open: {}, isolated: ISOLATION, strict: STRICT, "strict-isolated": { ...STRICT, ...ISOLATION } } as const;
export type Policy = keyof typeof POLICIES;

const TYPES: Readonly<Record<string, string>> = { ".html": "text/html; charset=utf-8", ".js": "text/javascript", ".wasm": "application/wasm" };

/** A page that says nothing for this long will not say anything any more. */
const TIMEOUT_MS = 60_000;

export class Site {
  readonly #server: Server;
  readonly #root: string;
  #reported: ((report: string) => void) | undefined;

  private constructor(root: string) {
    this.#root = root;
    this.#server = createServer((request, response) => void this.#answer(request, response));
  }

  /** Serves the files under `root`. */
  static async start(root: string): Promise<Site> {
    const site = new Site(root);
    await new Promise<void>((resolve) => site.#server.listen(0, "127.0.0.1", resolve));
    return site;
  }

  /** Where a file is with the headers of a policy. Browsers count 127.0.0.1 among secure contexts. */
  url(policy: Policy, path: string): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}/${policy}/${path}`;
  }

  /** What the page that `open` opens reports. One page at a time. */
  async report(open: () => Promise<unknown>): Promise<unknown> {
    let timer: NodeJS.Timeout | undefined;
    const reported = new Promise<string>((resolve, reject) => {
      this.#reported = resolve;
      timer = setTimeout(() => reject(new Error(`no report within ${TIMEOUT_MS / 1000} s`)), TIMEOUT_MS);
    });
    try {
      const [text] = await Promise.all([reported, open()]);
      return JSON.parse(text);
    } finally {
      clearTimeout(timer);
      this.#reported = undefined;
    }
  }

  async stop(): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const [, first = "", ...rest] = new URL(request.url ?? "/", "http://127.0.0.1").pathname.split("/");
    if (request.method === "POST" && first === "report") {
      const parts: Buffer[] = [];
      for await (const part of request) parts.push(part as Buffer);
      this.#reported?.(Buffer.concat(parts).toString());
      response.writeHead(204).end();
      return;
    }
    const type = TYPES[extname(rest.at(-1) ?? "")];
    if (!(first in POLICIES) || type === undefined || rest.includes("..")) {
      response.writeHead(404).end();
      return;
    }
    try {
      const body = await readFile(join(this.#root, ...rest));
      response.writeHead(200, { "content-type": type, "cache-control": "no-store", ...POLICIES[first as Policy] }).end(body);
    } catch {
      response.writeHead(404).end();
    }
  }
}
