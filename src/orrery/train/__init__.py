"""What training needs beside the loop itself: device, precision, schedule, checkpoint."""
