import { expect } from 'chai';
import type { Child } from '../support/lab/child.js';
import { createLab, type Lab } from '../support/lab/lab.js';
import { PROGRAM } from '../support/proxy.js';
import { requires } from '../support/requires.js';

/** Runs a program with no capability at all, which is what root is without. */
const POWERLESS = ['--bounding-set=-all', '--inh-caps=-all', '--ambient-caps=-all', '--no-new-privs', '--'];

describe('kproxy-us demo', function () {
  this.timeout(60_000);
  let lab: Lab;
  let demo: Child;

  before(async function () {
    requires(this, 'root', 'ip', 'setpriv', 'curl');
    lab = await createLab();
    demo = lab.ns.node.spawn('setpriv', [...POWERLESS, process.execPath, PROGRAM, 'demo']);
    await demo.waitFor(/curl (http:\S+)/, 20_000);
  });

  after(() => lab?.close());

  const url = () => /curl (http:\S+)/.exec(demo.stdout)?.[1] ?? '';
  const ask = async () => (await lab.ns.node.must('curl', ['-sS', '--max-time', '5', url()])).trim();

  it('answers from two pods in turn, without a cluster and without privileges (C5)', async () => {
    const answers = [await ask(), await ask(), await ask(), await ask()];
    expect(new Set(answers.slice(0, 2)).size).to.equal(2);
    expect(answers.slice(2)).to.deep.equal(answers.slice(0, 2));
  });

  it('does not let the client notice a killed backend (T2)', async () => {
    const pid = /kill (\d+)/.exec(demo.stdout)?.[1] ?? '';
    const before = new Set([await ask(), await ask()]);
    await lab.ns.node.must('kill', [pid]);
    const after = new Set<string>();
    for (let at = 0; at < 6; at++) after.add(await ask());
    expect(after.size).to.equal(1);
    expect([...before]).to.include.members([...after]);
  });

  it('ends cleanly on Ctrl-C', async () => {
    await demo.stop('SIGINT', 10_000);
    expect(demo.exit).to.deep.equal({ code: 0, signal: null });
    expect((await lab.ns.node.must('ss', ['-Hltn'])).trim()).to.equal('');
  });
});
