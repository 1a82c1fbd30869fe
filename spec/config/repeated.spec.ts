import { expect } from 'chai';
import { Repeated } from '../../lib/config/repeated.js';

describe('Repeated', () => {
  it('gives the first value of a text', () => {
    const repeated = new Repeated<object>();
    const [first, again, other] = [{}, {}, {}];
    expect(repeated.one('a', first)).to.equal(first);
    expect(repeated.one('a', again)).to.equal(first);
    expect(repeated.one('b', other)).to.equal(other);
  });

  it('forgets what it has gathered when that is too much, and keeps no long text', () => {
    const repeated = new Repeated<object>();
    const [first, again] = [{}, {}];
    repeated.one('a', first);
    for (let index = 0; index < 10_000; index++) repeated.one(`${index}`, {});
    expect(repeated.one('a', again)).to.equal(again);
    const long = 'x'.repeat(1_001);
    expect(repeated.one(long, first)).to.equal(first);
    expect(repeated.one(long, again)).to.equal(again);
  });
});
