import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, normalize, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect } from 'chai';

const LIB = join(dirname(fileURLToPath(import.meta.url)), '..', '..', 'lib');

/** Folders that may not know each other stand in one row; a row knows itself and the rows above it. */
const ROWS = [
  ['config', 'model'],
  ['balance', 'plan'],
  ['sys'],
  ['relay', 'redirect', 'source'],
  ['apply'],
  ['status'],
  ['daemon.ts'],
  ['cli'],
];

/** A row whose folders may know each other: the vocabulary. */
const VOCABULARY = 'config';

function rowOf(part: string): number {
  return ROWS.findIndex((row) => row.includes(part));
}

function partOf(file: string): string {
  return relative(LIB, file).split('/')[0] ?? '';
}

function importsOf(file: string): readonly string[] {
  const text = readFileSync(file, 'utf8');
  const found = text.matchAll(/(?:from|import\()\s*'(\.[^']+)\.js'/g);
  return [...found].map(([, path]) => normalize(join(dirname(file), `${path}.ts`)));
}

function allowed(from: string, to: string): boolean {
  const [fromPart, toPart] = [partOf(from), partOf(to)];
  if (fromPart === toPart) return true;
  const [fromRow, toRow] = [rowOf(fromPart), rowOf(toPart)];
  return fromRow === toRow ? (ROWS[fromRow]?.includes(VOCABULARY) ?? false) : toRow >= 0 && toRow < fromRow;
}

describe('the structure of lib', () => {
  const files = readdirSync(LIB, { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.ts'))
    .map((name) => join(LIB, name));

  it('has a row for every part', () => {
    const unknown = files.filter((file) => rowOf(partOf(file)) < 0).map((file) => relative(LIB, file));
    expect(unknown).to.deep.equal([]);
    expect(files.length).to.be.greaterThan(20);
  });

  it('imports one way, from the lower rows to the upper', () => {
    const wrong = files.flatMap((file) =>
      importsOf(file)
        .filter((target) => !allowed(file, target))
        .map((target) => `${relative(LIB, file)} imports ${relative(LIB, target)}`),
    );
    expect(wrong).to.deep.equal([]);
  });

  it('calls libc in sys alone', () => {
    const wrong = files.filter(
      (file) => partOf(file) !== 'sys' && /from 'koffi'|import\('koffi'\)/.test(readFileSync(file, 'utf8')),
    );
    expect(wrong).to.deep.equal([]);
  });
});
