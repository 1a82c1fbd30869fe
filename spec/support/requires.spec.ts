import { expect } from 'chai';
import { missing } from './requires.js';

describe('requires', () => {
  it('names the program that is missing', () => {
    expect(missing(['no-such-program-here'])).to.equal('needs no-such-program-here');
  });

  it('finds a program on the PATH', () => {
    expect(missing(['sh'])).to.equal(undefined);
  });
});
