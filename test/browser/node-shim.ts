// What conformance/ needs of Node, in a page: modules named node:… resolve to this one. Its files come with the page.

/** The cases, by name; `page.ts` fetches them. */
const files = (): ReadonlyMap<string, Uint8Array> => (globalThis as { files?: ReadonlyMap<string, Uint8Array> }).files ?? new Map();

const nameOf = (path: string): string => path.split("/").at(-1) ?? "";

export function existsSync(path: string): boolean {
  return files().has(nameOf(path)) || nameOf(path) === "run.mjs";
}

export function readdirSync(): string[] {
  return [...files().keys()];
}

export function readFileSync(path: string, encoding?: string): string | Uint8Array {
  const bytes = files().get(nameOf(path));
  if (bytes === undefined) throw new Error(`no file ${path} came with the page`);
  return encoding === undefined ? bytes : new TextDecoder().decode(bytes);
}

/** The last path that is absolute, which is what tests want of it. */
export function resolve(...paths: readonly string[]): string {
  return [...paths].reverse().find((path) => path.startsWith("/")) ?? "/";
}

export function fileURLToPath(url: URL | string): string {
  return new URL(url).pathname;
}

/** Scripts lie beside the page, bundled. */
export function pathToFileURL(path: string): { readonly href: string } {
  return new URL(`.${path.replace(/\.mjs$/, ".js")}`, location.href);
}
