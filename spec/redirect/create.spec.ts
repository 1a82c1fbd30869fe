import { expect } from 'chai';
import { createRedirector } from '../../lib/redirect/create.js';
import { RedirectError } from '../../lib/redirect/redirector.js';
import { keptLog, refused } from './support.js';

describe('createRedirector', () => {
  it('makes, for none, one that serves no frontend and runs nothing', async () => {
    const redirector = createRedirector('none', { log: keptLog(), exec: () => Promise.reject(new Error('ran')) });
    await redirector.start();
    await redirector.apply({ set: [refused('10.96.0.1:80')], remove: [] });
    await redirector.setInsideCidrs(['10.244.0.0/16']);
    expect(await redirector.existing()).to.deep.equal([]);
    expect(await redirector.repair()).to.equal(undefined);
    await redirector.cleanup();
    expect([redirector.serves('IPv4'), redirector.serves('IPv6')]).to.deep.equal([false, false]);
  });

  it('makes the one for iptables', () => {
    expect(createRedirector('iptables', { log: keptLog() }).mode).to.equal('iptables');
  });

  for (const mode of ['nftables', 'route'] as const) {
    it(`says that ${mode} is not built yet`, () => {
      expect(() => createRedirector(mode, { log: keptLog() })).to.throw(
        RedirectError,
        `--redirect ${mode} is not built yet`,
      );
    });
  }
});
