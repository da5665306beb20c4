/** Tables; on a phone each row becomes a block with the columns' names in it. */

import type { ComponentChildren } from "preact";

export interface Column<T> {
  head: string;
  /** Explains the head. */
  hint?: string;
  cell: (row: T) => ComponentChildren;
  number?: boolean;
  /** It names the row. */
  main?: boolean;
  /** It has no name on a phone, as it speaks for itself. */
  bare?: boolean;
}

// The roles are what the elements have anyway, until CSS makes blocks of them.
export function Table<T>({
  caption,
  columns,
  rows,
  name,
}: {
  caption: string;
  columns: Column<T>[];
  rows: T[];
  name: (row: T, index: number) => string | number;
}) {
  return (
    <table role="table" class="table">
      <caption class="unseen">{caption}</caption>
      <thead role="rowgroup">
        <tr role="row">
          {columns.map((column) => (
            <th
              key={column.head}
              role="columnheader"
              scope="col"
              class={column.number ? "number" : undefined}
              title={column.hint}
            >
              {column.head}
            </th>
          ))}
        </tr>
      </thead>
      <tbody role="rowgroup">
        {rows.map((row, index) => (
          <tr role="row" key={name(row, index)}>
            {columns.map((column) => {
              const kind = [column.number && "number", column.main && "main", (column.main || column.bare) && "bare"]
                .filter(Boolean)
                .join(" ");
              return column.main ? (
                <th key={column.head} role="rowheader" scope="row" class={kind}>
                  {column.cell(row)}
                </th>
              ) : (
                <td key={column.head} role="cell" class={kind || undefined} data-head={column.head}>
                  {column.cell(row)}
                </td>
              );
            })}
          </tr>
        ))}
      </tbody>
    </table>
  );
}
