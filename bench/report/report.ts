import type { Environment } from "../machine/environment.ts";

// What a run found, as data: the content of report.json, and all that the page and the console show. The two renderers walk it, and know
// nothing of suites.

/** What a number counts, which decides how it is written. Times are in ms. */
export type Unit = "Gelem/s" | "GFLOP/s" | "GB/s" | "ms" | "bytes" | "%" | "×" | "error" | "number" | "text";

/** A measured quantity: its median, and where it is known what nine samples in ten reach. */
export interface Figure {
  readonly median: number;
  readonly p90?: number | undefined;
}

/** Nothing where there is no figure: `null` once it has been JSON. */
export type Cell = string | number | Figure | null | undefined;

export interface Table {
  readonly title: string;
  readonly about?: string;
  /** What stands above each column, and the unit of its cells. */
  readonly columns: Readonly<Record<string, Unit>>;
  readonly rows: readonly { readonly cells: readonly Cell[]; readonly role?: "lead" | "limit" | undefined }[];
  readonly notes?: readonly string[];
  /** What was wrong, and so was not measured. */
  readonly errors?: readonly string[];
  /** All there is to know about one case: folded on the page, and printed once, as soon as it is measured. */
  readonly isDetail?: boolean;
}

/** Bars in groups, one per category. */
export interface Chart {
  readonly title: string;
  readonly about?: string;
  readonly unit: Unit;
  readonly isLogarithmic?: boolean;
  /** May have line breaks. */
  readonly categories: readonly string[];
  /** A value per category, `null` where there is none. A limit is a dashed line. */
  readonly series: readonly { readonly name: string; readonly values: readonly (number | null)[]; readonly isLimit?: boolean }[];
  /** The file that has it alone, for a README. */
  readonly file?: string | undefined;
}

/** A part of the report, under a heading; all of its parts may be absent. */
export interface Section {
  readonly title: string;
  readonly isSub?: boolean;
  readonly text?: readonly string[];
  readonly cards?: readonly { readonly big: string; readonly text: string }[];
  readonly charts?: readonly Chart[];
  readonly tables?: readonly Table[];
}

export interface Report {
  readonly title: string;
  readonly intro: readonly string[];
  readonly environment: Environment;
  readonly errors: readonly string[];
  readonly sections: readonly Section[];
}
