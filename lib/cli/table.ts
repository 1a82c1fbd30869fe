/** Owns tables on a terminal: columns as wide as their widest cell, numbers to the right. */

export function table(header: readonly string[], rows: readonly (readonly (string | number)[])[]): string {
  const cells = [header, ...rows.map((row) => row.map(String))];
  const widths = header.map((_, column) => Math.max(...cells.map((row) => row[column]?.length ?? 0)));
  const isNumber = header.map((_, column) => rows.length > 0 && rows.every((row) => typeof row[column] === 'number'));
  return cells
    .map(
      (row) =>
        `${row
          .map((cell, column) => pad(cell, column))
          .join('  ')
          .trimEnd()}\n`,
    )
    .join('');

  function pad(cell: string, column: number): string {
    const width = widths[column] ?? 0;
    return isNumber[column] === true ? cell.padStart(width) : cell.padEnd(width);
  }
}

/** The first few of a list, and how many more there are. */
export function few(items: readonly string[], limit = 4): string {
  if (items.length === 0) return '-';
  const more = items.length - limit;
  return more > 0 ? `${items.slice(0, limit).join(', ')} and ${more} more` : items.join(', ');
}
