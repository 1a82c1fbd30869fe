import { readFileSync } from 'node:fs';
import { expect } from 'chai';
import { OUTCOMES } from '../../lib/relay/engine.js';

const page = new URL('../../../docs/connections.md', import.meta.url);

describe('docs/connections.md', () => {
  it('lists every outcome of a connection, and no other (H5)', () => {
    const listed = [...readFileSync(page, 'utf8').matchAll(/^\| `([a-z-]+)` \|/gm)].map(([, name]) => name);
    expect(listed).to.deep.equal(OUTCOMES);
  });
});
