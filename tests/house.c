/* Both programs in one: it is enough that this links. */

int main(void)
{
  return 0;
}
