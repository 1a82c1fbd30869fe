import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'chai';
import type { Flag } from '../../lib/cli/flag.js';
import { IGNORED_FLAGS } from '../../lib/cli/ignored-flags.js';
import { RUN_FLAGS } from '../../lib/cli/run-flags.js';
import { ROOT } from '../support/proxy.js';

const DOC = readFileSync(join(ROOT, 'docs/flags.md'), 'utf8');

/** The row of a flag in the table of its group. */
function row(name: string, { letter, placeholder, help, shown }: Flag<unknown>): string {
  const flag = `${letter === undefined ? '' : `-${letter}, `}--${name}${placeholder === '' ? '' : ` ${placeholder}`}`;
  return `| \`${flag}\` | ${shown ?? ''} | ${help} |`.replace('|  |', '| |');
}

describe('docs/flags.md', () => {
  it('says of every flag what the help says', () => {
    const lines = new Set(DOC.split('\n'));
    const missing = Object.entries(RUN_FLAGS)
      .map(([name, flag]) => row(name, flag as Flag<unknown>))
      .filter((line) => !lines.has(line));
    expect(missing).to.deep.equal([]);
  });

  it('describes no flag that is not there', () => {
    const described = [...DOC.matchAll(/^\| `(?:-\w, )?--([\w-]+)/gm)].map(([, name]) => name);
    expect(described.filter((name) => !Object.hasOwn(RUN_FLAGS, name ?? ''))).to.deep.equal([]);
  });

  it('names every flag that is accepted and does nothing', () => {
    const [, section = ''] = DOC.split('## Accepted, without effect');
    const named = [...section.matchAll(/`--([\w-]+)`/g)].map(([, name]) => name);
    expect(named.toSorted()).to.deep.equal([...IGNORED_FLAGS.keys()].toSorted());
  });
});
