export default {
  // Files that any server can serve, under the address that test/package/site.ts gives them.
  output: "export",
  basePath: "/open/next.js/site",
  turbopack: { root: import.meta.dirname + "/../.." },
};
