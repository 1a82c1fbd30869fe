import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { expect } from 'chai';
import { collectGarbage, flagsBeside } from '../../lib/config/heap.js';

const HEAP = new URL('../../lib/config/heap.js', import.meta.url);

/** Megabytes of the young generation after 200,000 objects that stay, in a process with a second thread. */
async function youngGenerationMB(call: string, env: NodeJS.ProcessEnv): Promise<number> {
  const script = `
    import { getHeapSpaceStatistics } from 'node:v8';
    import { Worker } from 'node:worker_threads';
    import { keepHeapsSmall, keepHeapsSmallStill } from '${HEAP.href}';
    ${call};
    const worker = new Worker('setInterval(() => {}, 1000)', { eval: true });
    await new Promise((resolve) => worker.once('online', resolve));
    ${call === '' ? '' : 'keepHeapsSmallStill()'};
    const kept = [];
    for (let index = 0; index < 200_000; index++) kept.push({ index, list: [index] });
    const young = getHeapSpaceStatistics().find(({ space_name }) => space_name === 'new_space');
    process.stdout.write(String(young.space_size / 1e6));
    process.exit(0);`;
  const args = ['--input-type=module', '--eval', script];
  const { stdout } = await promisify(execFile)(process.execPath, args, { env: { ...process.env, ...env } });
  return Number(stdout);
}

describe('the heaps', () => {
  it('have a young generation that does not grow, threads or not', async () => {
    expect(await youngGenerationMB('', { NODE_OPTIONS: '' })).to.be.above(8);
    expect(await youngGenerationMB('keepHeapsSmall()', { NODE_OPTIONS: '' })).to.be.below(4);
  });

  it('are as the operator wants them where that was said', async () => {
    expect(flagsBeside(['--max-semi-space-size=16'])).to.deep.equal([]);
    expect(flagsBeside(['--inspect --max_semi_space_size=8'])).to.deep.equal([]);
    expect(flagsBeside(['--max-old-space-size=100'])).to.include('--max-semi-space-size=1');
    expect(flagsBeside(['--enable-source-maps'])).to.include('--max-semi-space-size=1');
    expect(await youngGenerationMB('keepHeapsSmall()', { NODE_OPTIONS: '--max-semi-space-size=16' })).to.be.above(8);
  });

  it('lose their garbage at once when told to', async () => {
    const dropped = new WeakRef({});
    await new Promise((resolve) => setImmediate(resolve));
    collectGarbage();
    expect(dropped.deref()).to.equal(undefined);
  });
});
