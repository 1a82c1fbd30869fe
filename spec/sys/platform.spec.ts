import { expect } from 'chai';
import { platformFault } from '../../lib/sys/platform.js';

describe('platformFault', () => {
  it('knows the structures of x64 and arm64 Linux', () => {
    expect(platformFault('linux', 'x64', 'LE')).to.equal(undefined);
    expect(platformFault('linux', 'arm64', 'LE')).to.equal(undefined);
  });

  for (const [platform, architecture, order, reason] of [
    ['darwin', 'arm64', 'LE', 'needs Linux, this is darwin'],
    ['win32', 'x64', 'LE', 'needs Linux, this is win32'],
    ['linux', 's390x', 'BE', 'knows the structures of x64 and arm64, this is s390x'],
    ['linux', 'ia32', 'LE', 'knows the structures of x64 and arm64, this is ia32'],
  ] as const) {
    it(`refuses ${platform} on ${architecture} with the reason`, () => {
      expect(platformFault(platform, architecture, order)).to.equal(reason);
    });
  }
});
